"""Parsing the command line, calling the verb, and turning errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from edge_effnet.cli.console import complain, flush, leave_standard_output, remark, settle_standard_streams, write
from edge_effnet.cli.parsing import EXIT_USER, Parser
from edge_effnet.errors import EdgeEffnetError, MissingDependencyError, OutputError
from edge_effnet.text import printable
from edge_effnet.version import __version__

#: Verb → one line of help; its module is edge_effnet.cli.<verb>, with add_arguments(parser) and run(arguments).
VERBS = {
    "predict": "classify photos",
    "info": "show what a model file is",
    "learn": "teach a model your own classes from photos",
    "edit": "change labels and metadata without the checkpoint",
    "export": "turn a checkpoint into a .tflite or .onnx file",
    "preprocess": "show what the network sees of a photo",
    "eval": "measure a model's accuracy on labelled photos",
    "compare": "show how far two model files agree on the same photos",
    "bench": "measure how fast model files run here",
    "camera": "classify a camera live, with a page to watch it",
    "doctor": "show what this machine can run",
}
_MODULES = {"eval": "evaluate"}

#: The last: 128 + SIGPIPE, what a shell says of a program whose reader has gone.
_EXIT_UNEXPECTED, _EXIT_INTERRUPTED, _EXIT_CLOSED_PIPE = 1, 130, 141
_SHELLS = ("bash", "zsh", "tcsh")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    settle_standard_streams()
    try:
        arguments = _parser(words).parse_args(words)
    except SystemExit as end:  # --help, --version or a wrong option: all is said
        raise SystemExit(_at_the_end(int(end.code or 0))) from None
    except (BrokenPipeError, OutputError) as error:
        return _at_the_end(_report(error, debug=False))
    return _at_the_end(_run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    try:
        with warnings.catch_warnings():
            if not (sys.warnoptions or arguments.debug):  # Pillow's and torch's, about what our own lines say better
                warnings.simplefilter("ignore")
            status: int = _module(arguments.verb).run(arguments)
        return status
    except KeyboardInterrupt:
        remark("interrupted")
        return _EXIT_INTERRUPTED
    except Exception as error:
        return _report(error, debug=arguments.debug)


def _at_the_end(status: int) -> int:
    """The status, once everything has left for standard output."""
    try:
        flush()
        return status
    except (BrokenPipeError, OutputError) as error:
        leave_standard_output()
        return status or _report(error, debug=False)


def _report(error: Exception, *, debug: bool) -> int:
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        return _EXIT_CLOSED_PIPE
    if debug:
        traceback.print_exc()
    known = isinstance(error, EdgeEffnetError) or _is_the_systems(error)
    text = _text(error)
    hint = "" if known else f"unexpected {type(error).__name__}: "
    again = "" if known or debug else "; run again with --debug for the details"
    complain(f"{hint}{text}{again}")
    return EXIT_USER if known else _EXIT_UNEXPECTED


def _is_the_systems(error: Exception) -> bool:
    """Whether the system says what is wrong with a file, a disk or the memory, which nobody but its user can mend."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


def _text(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory; close other programs, or take less at once"
    if isinstance(error, OSError) and not isinstance(error, EdgeEffnetError) and error.filename is not None:
        return f"{printable(error.filename, most=300)}: {error.strerror or error}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; a verb's options are only built when the verb is on the command line."""
    parser = Parser(prog="edge-effnet", description="EfficientNet on small devices: classify, export, measure.")
    parser.add_argument("--version", action="version", version=f"edge-effnet {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=_SHELLS,
        dest=argparse.SUPPRESS,
        help="print what makes this shell complete words",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for verb, help_text in VERBS.items():
        child = verbs.add_parser(verb, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        if verb in words:
            _add_options(child, verb)
    return parser


def _add_options(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
    parser.add_argument("--version", action="version", version=f"edge-effnet {__version__}")
    _module(verb).add_arguments(parser)


def parser_of(verb: str) -> argparse.ArgumentParser:
    """A verb's parser with all its options."""
    parser = Parser(prog=f"edge-effnet {verb}")
    _add_options(parser, verb)
    return parser


class _Completion(argparse.Action):
    """Prints the shell's script, made by shtab from the parser of all verbs, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, values: Any, _option: Any = None) -> None:
        """Raises SystemExit."""
        try:
            import shtab
        except ImportError as error:
            missing = MissingDependencyError("completion needs shtab: pip install 'edge-effnet[completion]'")
            raise SystemExit(_report(missing, debug=False)) from error
        write(shtab.complete(_parser([*VERBS]), shell=values))
        parser.exit()


def _module(verb: str):  # type: ignore[no-untyped-def]
    return importlib.import_module(f"edge_effnet.cli.{_MODULES.get(verb, verb)}")
