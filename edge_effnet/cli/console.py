"""What the command line says: results on standard output, remarks and errors on standard error, a line each.

Every line goes through `edge_effnet.text`. Standard streams that are full or closed are a user's matter: full or closed
output is an OutputError, closed input a UsageError, and without standard error everything else is as always.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TextIO

from edge_effnet.errors import OutputError, UsageError
from edge_effnet.text import printable

#: Characters of one line of output; names within it are shortened before.
LONGEST_LINE = 4000
#: The name of our way with what an encoding lacks; "backslashreplace" writes \\xe9 and \\U0001f415, which is no JSON.
_ESCAPE = "edge-effnet-escape"


def say(line: str = "") -> None:
    """A line of results on standard output. Raises OutputError when it can't be written."""
    write(printable(line, most=LONGEST_LINE) + "\n")


def remark(text: str) -> None:
    """A line on standard error that isn't an error."""
    _to_standard_error(f"edge-effnet: {printable(text)}")


def complain(text: str) -> None:
    """A line on standard error about an error."""
    _to_standard_error(f"edge-effnet: error: {printable(text)}")


def write(text: str) -> None:
    """Text made by `edge_effnet.text` to standard output. Raises OutputError when it can't be written."""
    with _translated():
        sys.stdout.write(text)


def flush() -> None:
    """Hands what was written to the system. Raises OutputError when it doesn't take it."""
    with _translated():
        sys.stdout.flush()


def standard_input() -> BinaryIO:
    """The bytes on standard input. Raises UsageError when it's closed."""
    if sys.stdin is None:
        raise UsageError("standard input (-) is closed; expected an image there")
    return sys.stdin.buffer


def leave_standard_output() -> None:
    """After a fault there: what still waits is given up, so that the interpreter's end doesn't try it again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def settle_standard_streams() -> None:
    """Gives each standard stream that is closed its number back, so that no file that is opened later gets it.

    A label or file name that the terminal's encoding lacks is escaped. What stands for a closed output refuses all.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the system gives the lowest free number
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: \\uXXXX for each of their UTF-16 units, as JSON has it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


codecs.register_error(_ESCAPE, _escaped)


@contextmanager
def _translated() -> Iterator[None]:
    """A closed pipe stays a BrokenPipeError: whoever read the output has seen enough."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"can't write to standard output: {error.strerror or error}") from error


def _to_standard_error(line: str) -> None:
    """A standard error that is full or closed says nothing, and changes nothing else."""
    stream: TextIO = sys.stderr
    with suppress(OSError, ValueError):
        stream.write(line + "\n")
        stream.flush()
