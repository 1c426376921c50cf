"""Options, exit statuses and the one line of every error."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_effnet import __version__
from edge_effnet.cli import main as main_function
from edge_effnet.cli import predict
from edge_effnet.cli.main import VERBS
from edge_effnet.errors import EngineError

from .conftest import PHOTOS, Run, is_one_error


@pytest.mark.parametrize("words", [["--version"], ["predict", "--version"]])
def test_version(run: Run, words: list[str]) -> None:
    assert (run(*words).status, run(*words).out) == (0, f"edge-effnet {__version__}\n")


def test_help_names_every_verb(run: Run) -> None:
    outcome = run("--help")
    assert outcome.status == 0
    assert all(verb in outcome.out and text in outcome.out for verb, text in VERBS.items())


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb(run: Run, verb: str) -> None:
    outcome = run(verb, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: edge-effnet {verb}")
    assert "%(default)" not in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["paint"], "invalid choice: 'paint'"),
        (["predict"], "the following arguments are required: SOURCE"),
        (["predict", "a.jpg", "--wat"], "unrecognized arguments: --wat"),
        (["predict", "a.jpg", "--top-k", "0"], "argument --top-k: '0' is not a whole number of at least 1"),
        (["predict", "a.jpg", "--top-k", "²"], "argument --top-k: '²' is not a whole number"),
        (["predict", "a.jpg", "--top-k", "many"], "argument --top-k: 'many' is not a whole number"),
        (["predict", "a.jpg", "--threads", "-1"], "argument --threads: "),
        (["predict", "a.jpg", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["predict", "a.jpg", "--engine", "tpu"], "argument --engine: invalid choice: 'tpu'"),
        (["predict", "a.jpg", "--mean", "1,2"], "argument --mean: '1,2' is not three numbers like 0.485,0.456,0.406"),
        (["predict", "a.jpg", "--threshold", "1.5"], "argument --threshold: '1.5' is not between 0 and 1"),
        (["predict", "a.jpg", "--threshold", "nan"], "argument --threshold: 'nan' is not between 0 and 1"),
        (["predict", "a.jpg", "--mean", "0.5"], "--mean has no effect without --image-size N"),
        (["predict", "a.jpg", "--model", "none.tflite"], "none.tflite: no such file"),
        (["predict", "a.jpg", "--labels", "none.txt"], "can't read labels from none.txt"),
        (["predict", "-", "-"], "standard input (-) stands twice among the sources"),
        (["info", "none.tflite"], "none.tflite: no such file"),
        (["export", "a.pth"], "the following arguments are required: -o"),
        (["export", "none.pth", "-o", "x.tflite"], "none.pth: no such file"),
        (["export", "none.pth", "-o", "x.pb"], "ends in .pb; expected .tflite or .onnx"),
        (
            ["export", "a", "-o", "b", "--crop-pct", "1", "--resize", "3"],
            "argument --resize: not allowed with argument --crop-pct",
        ),
        (["export", "a", "-o", "b", "--precision", "int4"], "argument --precision: invalid choice: 'int4'"),
        (["eval", "none.tflite", "."], "none.tflite: no such file"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_two(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
    outcome = run(*words)
    assert is_one_error(outcome, message), outcome


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    def arrange(error: BaseException) -> None:
        def fail(*_: object) -> int:
            raise error

        monkeypatch.setattr(predict, "run", fail)

    return arrange


def test_the_unexpected_is_status_one_without_a_traceback(run: Run, failing: Any) -> None:
    failing(ZeroDivisionError("one\ntwo"))
    outcome = run("predict", "x")
    assert (outcome.status, outcome.out) == (1, "")
    assert (
        outcome.err
        == "edge-effnet: error: unexpected ZeroDivisionError: one two; run again with --debug for the details\n"
    )


@pytest.mark.parametrize("words", [["--debug", "predict", "x"], ["predict", "x", "--debug"]])
def test_debug_shows_it(run: Run, failing: Any, words: list[str]) -> None:
    failing(ZeroDivisionError("one"))
    outcome = run(*words)
    assert outcome.status == 1
    assert outcome.err.startswith("Traceback")
    assert outcome.err.endswith("edge-effnet: error: unexpected ZeroDivisionError: one\n")


def test_debug_shows_known_errors_too(run: Run, failing: Any) -> None:
    failing(EngineError("broken\nfor good"))
    assert run("predict", "x").err == "edge-effnet: error: broken for good\n"
    outcome = run("--debug", "predict", "x")
    assert outcome.status == 2
    assert "Traceback" in outcome.err


def test_an_interrupt_is_130(run: Run, failing: Any) -> None:
    failing(KeyboardInterrupt())
    outcome = run("predict", "x")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "edge-effnet: interrupted\n")


@pytest.mark.litert
def test_ctrl_c_in_a_real_process() -> None:
    """While it waits for standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", _TELLING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "edge-effnet: interrupted\n")


_TELLING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from edge_effnet.cli import main
class Telling:
    def read(self, _size):
        print("ready", flush=True)
        return sys.__stdin__.buffer.read()
class Stdin:
    buffer = Telling()
sys.stdin = Stdin()
sys.exit(main(["predict", "-"]))
"""


@pytest.mark.litert
def test_a_reader_that_has_seen_enough() -> None:
    """`edge-effnet predict … | head -1` ends without a traceback, with 128 + SIGPIPE."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_effnet", "predict", "--format", "csv", "--top-k", "1000", *[str(PHOTOS)] * 3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=120) == 141


def test_a_verbs_module_is_imported_when_it_is_called() -> None:
    code = "import sys; from edge_effnet.cli import main; main(['doctor', '--format', 'json']); print('edge_effnet.cli.predict' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "False"


def test_the_entry_points_are_one_function() -> None:
    from importlib.metadata import entry_points

    (entry,) = (point for point in entry_points(group="console_scripts") if point.name == "edge-effnet")
    assert entry.load() is main_function


def test_no_verb_writes_over_what_it_reads(run: Run, tmp_path: Path) -> None:
    """One case a verb; `tests/test_clashes.py` has the links."""
    photo, model, text = (tmp_path / name for name in ("cat.png", "m.tflite", "l.svg"))
    for path in (photo, model, text):
        path.write_bytes(b"a user's")
    cases = (
        ("export", model, "-o", model),
        ("export", "c.pth", "-o", model, "--labels", model),
        ("export", "c.pth", "-o", "m.onnx", "--report", "./m.onnx", "--precision", "int8"),
        ("predict", tmp_path, "--save", tmp_path),
        ("eval", model, tmp_path, "--labels", model),
        ("bench", text, "--plot", text),
        ("camera", "--model", model, "--events", model),
    )
    for words in cases:
        outcome = run(*words)
        assert outcome.status == 2, words
        assert "overwrite" in outcome.err or "same file" in outcome.err or "another folder" in outcome.err, words
    assert {path.read_bytes() for path in (photo, model, text)} == {b"a user's"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(36, "File name too long", "x" * 5000), "x…: File name too long"),
        (PermissionError(13, "Permission denied", "a\x1bb"), "a\\x1bb: Permission denied"),
        (MemoryError(), "there is not enough memory"),
    ],
    ids=["name", "permission", "memory"],
)
def test_what_the_system_says_is_the_users(run: Run, failing: Any, error: Exception, message: str) -> None:
    failing(error)
    outcome = run("predict", "x")
    assert outcome.status == 2
    assert "unexpected" not in outcome.err
    assert message.lstrip("x…") in outcome.err
    assert len(outcome.err) < 600


def test_names_that_are_too_long(run: Run) -> None:
    for words in (("predict", "x" * 5000), ("info", "x" * 5000), ("eval", "x" * 5000, "y" * 5000)):
        outcome = run(*words)
        assert outcome.status == 2
        assert "File name too long" in outcome.err
