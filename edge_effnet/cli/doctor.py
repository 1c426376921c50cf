"""`edge-effnet doctor`: what this machine can run, and why not."""

from __future__ import annotations

import argparse
from typing import Any

from edge_effnet.cli.console import say, write
from edge_effnet.engines import engine_statuses
from edge_effnet.machine import machine_facts, throttling_words
from edge_effnet.text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the output (default text)")


def run(arguments: argparse.Namespace) -> int:
    """Prints engines and machine; 2 when no engine is usable."""
    statuses = engine_statuses()
    engines = [{"engine": s.engine, "package": s.package, "version": s.version, "problem": s.problem} for s in statuses]
    facts = machine_facts()
    if arguments.format == "json":
        write(json_text({"engines": engines, "machine": facts}, indent=2) + "\n")
    else:
        _print_text(engines, facts)
    return 0 if any(status.version for status in statuses) else 2


def _print_text(engines: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    say("Engines")
    for engine in engines:
        state = f"{engine['package']} {engine['version']}" if engine["version"] else f"not usable: {engine['problem']}"
        say(f"  {engine['engine']:<12} {state}")
    say("Machine")
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else "unknown" if value is None else value
        words = throttling_words(value) if name == "throttled" else []
        say(f"  {name.replace('_', ' '):<17} {shown}" + (f" ({', '.join(words)})" if words else ""))
