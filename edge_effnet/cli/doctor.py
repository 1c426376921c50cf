"""`edge-effnet doctor`: what this machine can run, and why not."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge_effnet.engines import engine_statuses
from edge_effnet.machine import machine_facts, throttling_words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the output (default text)")


def run(arguments: argparse.Namespace) -> int:
    """Prints engines and machine; 2 when no engine is usable."""
    statuses = engine_statuses()
    engines = [{"engine": s.engine, "package": s.package, "version": s.version, "problem": s.problem} for s in statuses]
    facts = machine_facts()
    if arguments.format == "json":
        print(json.dumps({"engines": engines, "machine": facts}, indent=2))
    else:
        _print_text(engines, facts)
    return 0 if any(status.version for status in statuses) else 2


def _print_text(engines: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    print("Engines")
    for engine in engines:
        state = f"{engine['package']} {engine['version']}" if engine["version"] else f"not usable: {engine['problem']}"
        print(f"  {engine['engine']:<12} {state}")
    print("Machine")
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else "unknown" if value is None else value
        words = throttling_words(value) if name == "throttled" else []
        print(f"  {name.replace('_', ' '):<17} {shown}" + (f" ({', '.join(words)})" if words else ""))
