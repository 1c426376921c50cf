"""What the page may change, and who may: the token or this machine, from a page of ours, in small requests."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edge_effnet.errors import EdgeEffnetError, OutputError
from edge_effnet.live.web.access import is_loopback_host
from edge_effnet.live.web.answers import Answer, refusal
from edge_effnet.live.web.requests import Request
from edge_effnet.text import json_text, parse_json

if TYPE_CHECKING:
    from edge_effnet.live.teaching import Teacher
    from edge_effnet.live.web.server import WebServer

_ACTION = "/api/teach/"
_PICTURE = re.compile(r"/(inbox|class)/([0-9A-Za-z.-]{1,60})\.jpg")
#: Side of the small pictures of classes, in pixels.
_SMALL = 200
#: Photos of one's own are made small one at a time, from at most so many bytes.
_LARGEST_PHOTO = 50_000_000


def answer_get(teacher: Teacher, path: str) -> Answer | None:
    """The teaching view's document and pictures; None for other paths."""
    if path == "/api/teach":
        return Answer(json_text(teacher.document()).encode(), "application/json")
    match = _PICTURE.fullmatch(path)
    if match is None:
        return None
    try:
        if match[1] == "inbox":
            return Answer(teacher.shelf.waiting_picture(match[2]).read_bytes(), "image/jpeg")
        return Answer(_small(teacher.shelf.class_of(match[2]).photos[-1]), "image/jpeg")
    except (EdgeEffnetError, OSError, IndexError):
        return refusal(404, "that picture is gone")


def answer_post(web: WebServer, request: Request) -> Answer:
    """Does what a button says, if it may."""
    teacher = web.teacher
    if teacher is None or not request.path.startswith(_ACTION):
        return refusal(405, "there is nothing to change here", {"Allow": "GET, HEAD"})
    no = why_not(web, request.headers)
    if no is not None:
        return refusal(403, no)
    try:
        said = parse_json(request.body or b"{}")
    except ValueError as error:
        return refusal(400, f"the request is no JSON: {error}")
    if not isinstance(said, dict):
        return refusal(400, "the request is no JSON object")
    return _done(teacher, request.path.removeprefix(_ACTION), said)


def why_not(web: WebServer, headers: Mapping[str, str]) -> str | None:
    """Why a request that has shown the token, where there is one, may change nothing; None where it may.

    A foreign page can have a browser send requests here, with the browser's cookie: its Origin tells, and the kind of
    content, which no form can send.
    """
    host = headers.get("Host", "")
    if web.access.token is None and not (web.address.is_loopback and is_loopback_host(host)):
        return "changes need a token; start the camera with --token"
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        return "changes come as application/json"
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return "that page isn't this camera's"
    if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return "that page isn't this camera's"
    return None


def _done(teacher: Teacher, action: str, said: Mapping[str, Any]) -> Answer:
    if action not in teacher.actions:
        return refusal(404, "there is no such button")
    try:
        text = teacher.actions[action](said)
    except EdgeEffnetError as error:
        status = 507 if isinstance(error, OutputError) else 409
        return Answer(json_text({"error": str(error)}).encode(), "application/json", status)
    return Answer(json_text({"said": text, **teacher.document()}).encode(), "application/json")


def _small(path: Path) -> bytes:
    """A photo as a small JPEG, upright. Raises OSError for one that is too large or can't be read."""
    from PIL import Image, ImageOps

    if path.stat().st_size > _LARGEST_PHOTO:
        raise OSError("too large to be shown")
    try:
        with Image.open(path) as image:
            image.draft("RGB", (_SMALL, _SMALL))
            small = ImageOps.exif_transpose(image) or image
            small.thumbnail((_SMALL, _SMALL))
            file = io.BytesIO()
            small.convert("RGB").save(file, "JPEG", quality=80)
    except (ValueError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error
    return file.getvalue()
