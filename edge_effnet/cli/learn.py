"""`edge-effnet learn`: a model file that knows the classes of your own photos."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from edge_effnet.cli.console import remark, say, write
from edge_effnet.cli.options import add_engine_options, add_image_options, image_rules_from, wants_json
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.progress import StageBars
from edge_effnet.learning import Learned, learn
from edge_effnet.text import json_text, printable

_OFF = "off"
_SHOWN = 5
#: Of what `StageBars` counts in.
_PARTS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "photos", metavar="PHOTOS", help="a folder that holds a folder of photos for each class; one named none: others"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write")
    parser.add_argument(
        "--base", metavar="FILE", help="a file of edge-effnet's whose features are used (default: the bundled one)"
    )
    unknown = parser.add_argument(
        "--unknown",
        type=_share,
        default=0.05,
        metavar="X",
        help="share of your own photos that may be called unknown, 0 to 1, or off (default 0.05)",
    )
    parser.add_argument(
        "--keep-classes",
        dest="base_classes",
        action="store_const",
        const="kept",
        default="dropped",
        help="keep the base's classes beside the new ones; nothing is called unknown then",
    )
    goes_with("with --keep-classes", unknown, holds=lambda arguments: arguments.base_classes != "kept")
    parser.add_argument("--cache", metavar="DIR", help="where features are kept for the next time (default: ~/.cache)")
    parser.add_argument("--report", metavar="FILE.html", help="write a page: what is confused, and photos to look at")
    parser.add_argument(
        "--format", choices=("text", "json"), help="of the output (default: text on a terminal, JSON otherwise)"
    )
    add_engine_options(parser)
    add_image_options(parser, others="everything else is left out")


def _share(text: str) -> float | None:
    from edge_effnet.cli.values import fraction

    return None if text == _OFF else fraction(text)


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and says what was learned."""
    with StageBars(counted="parts") as bars:
        learned = learn(
            arguments.photos,
            arguments.output,
            base=arguments.base,
            unknown=arguments.unknown,
            base_classes=arguments.base_classes,
            cache=arguments.cache,
            report=arguments.report,
            progress=lambda stage, share: bars(stage, round(share * _PARTS), _PARTS),
            engine=arguments.engine,
            threads=arguments.threads,
            image_rules=image_rules_from(arguments),
        )
    for line in learned.left_out:
        remark(f"left out: {line}")
    if wants_json(arguments):
        write(json_text(_plain(learned), indent=2) + "\n")
    else:
        _print_text(learned)
    return 0


def _plain(learned: Learned) -> dict[str, Any]:
    found = asdict(learned)
    found["doubtful"] = [{**row, "path": str(row["path"])} for row in found["doubtful"]]
    return {**found, "path": str(learned.path)}


def _print_text(learned: Learned) -> None:
    photos = sum(learned.photos.values())
    beside = f", beside {learned.kept:,} of the base's" if learned.kept else ""
    say(f"{printable(learned.path)}: {len(learned.labels)} classes from {photos:,} photos{beside}")
    if learned.accuracy is None or learned.interval is None:
        say("  too few photos to hold some out: how good it is isn't known")
    else:
        low, high = (100 * value for value in learned.interval)
        say(f"  recognises {100 * learned.accuracy:.1f} % of photos it hasn't seen ({low:.0f} to {high:.0f} %)")
    for line in _confused(learned):
        say(f"  {line}")
    if learned.threshold is not None:
        say(f"  calls a photo unknown whose likeness to yours is below {learned.threshold:.3f}")
    for doubt in learned.doubtful[:_SHOWN]:
        say(f"  perhaps misfiled: {printable(doubt.path)}, which looks like {printable(doubt.looks_like)}")
    wanted = [(label, gain) for label, gain in learned.wants.items() if gain >= 0.005][:2]
    if wanted:
        named = " and ".join(f"{printable(label)} (+{100 * gain:.1f} points)" for label, gain in wanted)
        say(f"  ten more photos would help {named} most")


def _confused(learned: Learned) -> list[str]:
    """The pairs of classes that are taken for each other most, of photos held out."""
    pairs = [
        (count / max(1, sum(row)), f"{count} of {sum(row)} {printable(true)} taken for {printable(found)}")
        for true, row in zip(learned.labels, learned.confusion, strict=True)
        for found, count in zip(learned.labels, row, strict=True)
        if found != true and count > 1
    ]
    return [text for _, text in sorted(pairs, key=lambda pair: -pair[0])[:3]]
