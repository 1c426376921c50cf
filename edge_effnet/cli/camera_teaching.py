"""Keeping frames and teaching with `edge-effnet camera`: the options, and what they open."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_effnet.classifier import Classifier
from edge_effnet.cli.options import open_classifier
from edge_effnet.cli.parsing import goes_with
from edge_effnet.errors import UsageError
from edge_effnet.live import LiveClassifier
from edge_effnet.live.inbox import Inbox
from edge_effnet.live.teaching import Teacher
from edge_effnet.live.teaching.networks import Networks
from edge_effnet.live.web import Access, WebAddress


def add_teaching(parser: argparse.ArgumentParser) -> None:
    """The options."""
    group = parser.add_argument_group("teaching", "frames worth a look, and a page on which they get names")
    group.add_argument(
        "--inbox",
        metavar="DIR",
        help="keep frames in DIR that are new, unknown or undecided, and a few by chance (with --learn: in its inbox)",
    )
    goes_with(
        "without --web HOST:PORT",
        group.add_argument(
            "--learn",
            metavar="DIR",
            help="let the page teach: photos, names and learned networks are kept in DIR; needs --token, or an address "
            "that this machine alone reaches",
        ),
    )


def check_teaching(arguments: argparse.Namespace, address: WebAddress, access: Access) -> None:
    """Raises UsageError where everybody who reaches the page could change something."""
    if arguments.learn and access.token is None and not address.is_loopback:
        raise UsageError(
            f"--learn lets the page change things, and {address.host} can be reached from other machines: say who may "
            "with --token"
        )


def kept_folders(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Option → folder that frames are kept in."""
    return {"--snapshot": arguments.snapshot, "--inbox": arguments.inbox, "--learn": arguments.learn}


def network_in_use(arguments: argparse.Namespace) -> str | None:
    """The learned file that the page's last choice was; None for the one of --model."""
    return _networks(arguments).in_use() if arguments.learn else None


def open_network(arguments: argparse.Namespace, path: Path | None, threads: int | None) -> Classifier:
    """A learned file, or with None the one of --model, as the camera's options want it. What they say of labels and
    preparation is of the latter.
    """
    if path is None:
        return open_classifier(arguments, arguments.model, threads=threads)
    return Classifier(
        path,
        engine=arguments.engine,
        threads=threads or arguments.threads,
        decoding="quick",
        unknown=arguments.unknown,
    )


def open_first(arguments: argparse.Namespace) -> Classifier:
    """The network that the camera begins with."""
    name = network_in_use(arguments)
    return open_network(arguments, None if name is None else _networks(arguments).path(name), None)


@contextlib.contextmanager
def opened_inbox(arguments: argparse.Namespace, model: str) -> Iterator[Inbox | None]:
    """None where no frames are kept. model: the file's name, which is noted with each."""
    folder = arguments.inbox or (Path(arguments.learn) / "inbox" if arguments.learn else None)
    if folder is None:
        yield None
        return
    with Inbox(folder, random=np.random.default_rng(), region=arguments.roi, model=model) as inbox:
        yield inbox


@contextlib.contextmanager
def opened_teacher(
    arguments: argparse.Namespace, live: LiveClassifier, inbox: Inbox | None
) -> Iterator[Teacher | None]:
    """None where nothing is taught."""
    if not arguments.learn or inbox is None:
        yield None
        return
    teacher = Teacher(
        Path(arguments.learn),
        live,
        inbox=inbox,
        open_network=lambda path, threads: open_network(arguments, path, threads),
        base=None if arguments.model is None else Path(arguments.model),
        in_use=network_in_use(arguments),
    )
    with contextlib.closing(teacher):
        yield teacher


def _networks(arguments: argparse.Namespace) -> Networks:
    return Networks(Path(arguments.learn) / "networks")
