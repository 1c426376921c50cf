"""`edge-effnet info`: what a model file is, without running it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_effnet.cli.console import say, write
from edge_effnet.engines import ENGINES, engine_statuses
from edge_effnet.formats import ModelFile, read_model_file, weights_are_verified
from edge_effnet.metadata import ModelDocument
from edge_effnet.text import json_text, printable
from edge_effnet.trial import try_in_child

_LABELS_SHOWN = 3
_LONGEST_ROW = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("model", metavar="MODEL", help="a .tflite or .onnx file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the output (default text)")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check the weights against their SHA-256, and try the file in a process of its own",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the file's facts."""
    contents = read_model_file(Path(arguments.model))
    facts = _facts(contents, Path(arguments.model))
    if arguments.verify:
        facts["verified"] = _verify(contents, Path(arguments.model))
    if arguments.format == "json":
        write(json_text(facts, indent=2) + "\n")
    else:
        for line in _lines(facts, contents.document):
            say(line)
    return 0


def _verify(contents: ModelFile, path: Path) -> dict[str, Any]:
    """What vouches for the file; raises ModelFileError for weights that don't fit their SHA-256, EngineError for a
    crash.
    """
    fits = weights_are_verified(contents.document, contents.covered, name=str(path))
    engine = _engine_for(contents.format)
    if engine is not None:
        try_in_child(path, file_format=contents.format, engine="auto", threads=1)
    return {
        "weights_sha256": "fits" if fits else "not in the file",
        "trial_run": "no engine installed" if engine is None else "no crash",
    }


def _facts(contents: ModelFile, path: Path) -> dict[str, Any]:
    document = contents.document
    return {
        "model": str(path),
        "format": contents.format,
        "size_bytes": path.stat().st_size,
        "weight_bytes": contents.weight_bytes,
        "engine": _engine_for(contents.format),
        "input": _tensor(contents.input),
        "output": _tensor(contents.output),
        "operators": contents.operators_by_precision(),
        "labels": None if contents.labels is None else list(contents.labels),
        "document": None if document is None else document.to_dict(),
    }


def _tensor(info: Any) -> dict[str, Any]:
    return {"name": info.name, "shape": list(info.shape), "dtype": info.dtype}


def _engine_for(file_format: str) -> str | None:
    """The installed engine that `auto` would take."""
    usable = {status.engine: status for status in engine_statuses() if status.version}
    fitting = next((name for name, (kind, _) in ENGINES.items() if kind == file_format and name in usable), None)
    return f"{fitting} ({usable[fitting].package} {usable[fitting].version})" if fitting else None


def _lines(facts: dict[str, Any], document: ModelDocument | None) -> list[str]:
    rows = [
        (
            "file",
            f"{printable(facts['model'])}  ({facts['size_bytes'] / 1e6:.2f} MB, {facts['weight_bytes'] / 1e6:.2f} MB of them "
            "weights)",
        )
    ]
    rows += (
        _document_rows(document)
        if document
        else [("document", "none: made by another tool; say how to prepare photos with --image-size, --mean and --std")]
    )
    rows += [
        (name, f"{printable(facts[name]['name'])}  {facts[name]['dtype']}{facts[name]['shape']}")
        for name in ("input", "output")
    ]
    labels = facts["labels"]
    rows.append(
        (
            "labels",
            "none"
            if labels is None
            else f"{len(labels)}: {', '.join(printable(label) for label in labels[:_LABELS_SHOWN])}, …",
        )
    )
    rows.append(("engine", facts["engine"] or "none installed: see edge-effnet doctor"))
    for precision, counts in facts["operators"].items():
        rows.append((f"{precision} ops", ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))))
    rows += (
        [("verified", f"SHA-256 of the weights: {found['weights_sha256']}; {found['trial_run']} in a trial run")]
        if (found := facts.get("verified"))
        else []
    )
    return [f"{name:<14} {printable(text, most=_LONGEST_ROW)}" for name, text in rows]


def _document_rows(document: ModelDocument) -> list[tuple[str, str]]:
    pre, source = document.preprocessing, document.source
    rows = [
        (
            "network",
            f"EfficientNet-{document.variant.capitalize()}, {document.num_classes} classes, "
            f"{document.size_text}, {document.precision}",
        ),
        (
            "photos",
            f"shorter side to {pre.resize}, centre {pre.crop}, {pre.interpolation}; mean {_triple(pre.mean)}, std "
            f"{_triple(pre.std)}, {pre.channels}",
        ),
        (
            "checkpoint",
            f"{source.get('dialect')}, {source.get('padding')} padding, BN eps {source.get('bn_eps')}, sha256 "
            f"{str(source.get('sha256'))[:12]}…",
        ),
    ]
    if document.quantization:
        rows.append(
            ("quantization", ", ".join(f"{key} {_short(value)}" for key, value in document.quantization.items()))
        )
    rows.append(("accuracy", _accuracy(document.accuracy)))
    rows.append(("made by", document.created_by))
    rows.append(
        ("weights", f"sha256 {document.weights_sha256[:12]}…" if document.weights_sha256 else "no SHA-256 in the file")
    )
    return rows


def _accuracy(accuracy: Any) -> str:
    if not accuracy:
        return "not measured: edge-effnet eval does"
    return f"top-1 {100 * accuracy['top1']:.2f} %, top-5 {100 * accuracy['top5']:.2f} % of {accuracy['images']} photos in {accuracy['data']}"


def _triple(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else ",".join(f"{value:g}" for value in values)


def _short(value: Any) -> str:
    text = json_text(value) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
