"""The parser of all verbs: options that can have no effect as they stand are refused, and so are addresses.

An option's table says what it needs (`goes_with`); every verb is checked by the same code, before it runs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from edge_effnet.addresses import is_address
from edge_effnet.cli.console import complain, write

EXIT_USER = 2
_NEEDED, _ADDRESSES, _GIVEN = "needed", "takes_addresses", "_given"
_FLAG = re.compile(r"(--[a-z0-9-]+)(?: ([a-z0-9-]+)$)?")


@dataclass(frozen=True)
class Needed:
    """What an option needs to have an effect. phrase: how a message ends: "without --web HOST:PORT"."""

    phrase: str
    holds: Callable[[argparse.Namespace], bool]


class Arguments(argparse.Namespace):
    """Knows which options stood on the command line, and not only what they are."""

    def __init__(self) -> None:
        vars(self)[_GIVEN] = set()

    def __setattr__(self, name: str, value: Any) -> None:
        """The first value is the default; argparse sets a text again after converting it."""
        seen = vars(self)
        if name in seen and name != _GIVEN and not (isinstance(value, str) and value is seen[name]):
            seen[_GIVEN].add(name)
        seen[name] = value


def goes_with(
    phrase: str, *actions: argparse.Action, holds: Callable[[argparse.Namespace], bool] | None = None
) -> None:
    """Options that have an effect only when `holds`, which is read from the phrase where it isn't said.

    phrase: "without --web HOST:PORT" (the option is given), "without --precision int8" (it has that value), or any
    words that go behind "--option has no effect".
    """
    needed = Needed(phrase, holds or _read_from(phrase))
    for action in actions:
        vars(action)[_NEEDED] = needed


def needed_by(action: argparse.Action) -> Needed | None:
    """What `goes_with` said of an option."""
    found: Needed | None = vars(action).get(_NEEDED)
    return found


def given(arguments: argparse.Namespace) -> frozenset[str]:
    """Names of the options that stood on the command line."""
    return frozenset(vars(arguments).get(_GIVEN, ()))


def takes_addresses(action: argparse.Action) -> None:
    """Says that https://… and the like may be given here."""
    vars(action)[_ADDRESSES] = True


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All options and positional arguments of a parser."""
    return list(parser._actions)


def _read_from(phrase: str) -> Callable[[argparse.Namespace], bool]:
    found = _FLAG.search(phrase)
    if found is None:
        raise ValueError(f"{phrase!r} names no option")
    name, value = found[1].removeprefix("--").replace("-", "_"), found[2]

    def holds(arguments: argparse.Namespace) -> bool:
        set_to = getattr(arguments, name, None)
        return set_to == value if value else bool(set_to)

    return holds


class Parser(argparse.ArgumentParser):
    """Reports a wrong option like any other error: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        """Raises SystemExit after one line."""
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(EXIT_USER)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Whatever is left over is an error of this parser, whose help lists what there is."""
        found, left = super().parse_known_args(args, Arguments() if namespace is None else namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        for action in self._actions:
            self._check(action, found)
        return found, left

    def _check(self, action: argparse.Action, found: argparse.Namespace) -> None:
        value, needed = getattr(found, action.dest, None), needed_by(action)
        if "" in _each(value):
            name = "/".join(action.option_strings) or action.metavar or action.dest
            self.error(f"{name} is empty; say what it is (is a variable of the shell unset?)")
        address = None if vars(action).get(_ADDRESSES) else next(filter(is_address, _each(value)), None)
        if address is not None:
            self.error(f"{address}: addresses aren't read; download the file first (curl -O), and name it")
        if needed is not None and action.dest in given(found) and not needed.holds(found):
            self.error(f"{'/'.join(action.option_strings)} has no effect {needed.phrase}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Unlike argparse's own, help that can't be written is an error."""
        if message and file is sys.stdout:
            write(message)
        else:
            super()._print_message(message, file)


def _each(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)
