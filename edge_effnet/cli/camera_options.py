"""The options of `edge-effnet camera`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from edge_effnet.cli.camera_destinations import add_destinations
from edge_effnet.cli.camera_teaching import add_teaching
from edge_effnet.cli.options import add_engine_options, add_group_option, add_unknown_option
from edge_effnet.cli.parsing import given, goes_with, takes_addresses
from edge_effnet.cli.preparation import add_preprocessing_options
from edge_effnet.cli.values import names, positive
from edge_effnet.errors import UsageError
from edge_effnet.live import DecisionRule, Region
from edge_effnet.live.motion import DEFAULT_LEVELS

_RULE = DecisionRule()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    takes_addresses(
        parser.add_argument(
            "--source",
            default="picamera2",
            metavar="S",
            help="picamera2 (default), a camera's number, /dev/video…, rtsp://…, a video file, a folder of photos",
        )
    )
    parser.add_argument(
        "--model", metavar="FILE", help="a .tflite or .onnx file (default: the bundled EfficientNet-Lite0)"
    )
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the model's")
    add_group_option(parser)
    add_unknown_option(parser)
    _add_pictures(parser)
    top_k = parser.add_argument(
        "--top-k", type=positive, default=5, metavar="K", help="how many classes the page shows (default 5)"
    )
    goes_with("without --web HOST:PORT", top_k)
    parser.add_argument(
        "--format", choices=("text", "jsonl"), default="text", help="of the events on standard output (default text)"
    )
    _add_decisions(parser)
    add_destinations(parser)
    add_teaching(parser)
    _add_web(parser)
    add_engine_options(parser)
    add_preprocessing_options(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    size = parser.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="picture size to ask the camera for (default 640x480, OpenCV: the camera's own)",
    )
    fps = parser.add_argument(
        "--fps",
        type=_rate,
        metavar="F",
        help="play files at F frames a second, or max: every frame, at the model's speed (default: a video's own)",
    )
    loop = parser.add_argument("--loop", action="store_true", help="play files again from the beginning")
    parser.add_argument(
        "--motion",
        type=float,
        nargs="?",
        const=DEFAULT_LEVELS,
        metavar="LEVELS",
        help="classify only while something moves: a part of the picture changes by LEVELS of 255 (default 10)",
    )
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="classify each N-th frame (default 1)")
    parser.add_argument(
        "--roi",
        type=_region,
        metavar="X,Y,W,H",
        help="classify this part: left, top, width, height as fractions of the picture",
    )
    parser.add_argument(
        "--rotate",
        type=int,
        choices=(90, 180, 270),
        default=0,
        help="turn the picture clockwise, for a camera that isn't mounted upright",
    )
    parser.add_argument(
        "--flip", choices=("horizontal", "vertical"), help="mirror it, after turning: left and right, or top and bottom"
    )
    goes_with("with a file or folder as --source", size, holds=lambda arguments: not _is_replayed(arguments))
    goes_with("without a file or folder as --source", fps, loop, holds=_is_replayed)


def _is_replayed(arguments: argparse.Namespace) -> bool:
    return Path(arguments.source).exists() and not arguments.source.startswith("/dev/")


def photos_are_frames(arguments: argparse.Namespace) -> bool:
    """Whether an option about frames that follow each other was said, so that a folder's photos are such frames."""
    return not {"smoothing", "leave", "agree", "margin"}.isdisjoint(given(arguments))


def _add_decisions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "decisions",
        "when a label is announced, and when it is given up; a folder's photos are taken one by one, unless "
        "--leave, --smoothing, --agree or --margin is said",
    )
    group.add_argument("--allow", type=names, metavar="L,…", help="announce only these labels (names or indices)")
    group.add_argument("--deny", type=names, metavar="L,…", help="never announce these labels")
    group.add_argument(
        "--enter",
        type=float,
        metavar="X",
        help="lowest score to announce a label (default: by head and number of classes, 0.7 for ten, 0.25 for 1,000)",
    )
    group.add_argument(
        "--leave",
        type=float,
        metavar="X",
        help="below this score it is given up (default: likewise, 0.4 or 0.1)",
    )
    group.add_argument(
        "--smoothing",
        type=float,
        default=_RULE.smoothing,
        metavar="X",
        help="weight of the newest frame, up to 1: none (default %(default)s)",
    )
    group.add_argument(
        "--agree",
        type=_of,
        default=(_RULE.agree, _RULE.window),
        metavar="K/N",
        help="K of N frames must agree (default 3/5)",
    )
    group.add_argument(
        "--margin",
        type=float,
        default=_RULE.margin,
        metavar="X",
        help="lead that another label needs (default %(default)s)",
    )


def _add_web(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("page", "a page to watch the camera")
    group.add_argument("--web", metavar="HOST:PORT", help="show the page there, for instance 127.0.0.1:8080")
    token = group.add_argument(
        "--token",
        metavar="TEXT",
        help="what viewers must know; needed unless HOST is this machine alone (or EDGE_EFFNET_TOKEN)",
    )
    opened = group.add_argument(
        "--web-open", action="store_true", help="let everyone who reaches the port watch, without a token"
    )
    name = group.add_argument(
        "--web-name",
        type=names,
        default=[],
        metavar="NAME,…",
        help="further host names under which the page is reached",
    )
    fps = group.add_argument(
        "--web-fps",
        type=_rate_number,
        default=10.0,
        metavar="F",
        help="most pictures a second on the page (default 10)",
    )
    goes_with("without --web HOST:PORT", token, opened, name, fps)
    parser.set_defaults(decoding="quick")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if match is None or int(match[1]) % 2 or int(match[2]) % 2 or not int(match[1]) * int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in even numbers like 640x480")
    return int(match[1]), int(match[2])


def _rate(text: str) -> float | str:
    return text if text == "max" else _rate_number(text)


def _rate_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames a second above 0, at most 1000")
    return value


def _region(text: str) -> Region:
    try:
        left, top, width, height = (float(part) for part in text.split(","))
        return Region(left, top, width, height)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not four fractions like 0.25,0.25,0.5,0.5") from error


def _of(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N like 3/5")
    return int(match[1]), int(match[2])
