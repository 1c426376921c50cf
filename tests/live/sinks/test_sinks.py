from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.chromium import eventually

from edge_effnet.errors import OutputError, UsageError
from edge_effnet.live.events import Event
from edge_effnet.live.journal import SinkRunner
from edge_effnet.live.sinks import CommandSink, FileSink


def event(number: int, label: str | None = "Köln") -> Event:
    return Event(number, label, 1, 0.5, "cat", 1_700_000_000.25, 1.5, 7)


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_appended_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"number": 0}\n')
    sink = FileSink(path)
    sink.send(event(1))
    sink.send(event(2))
    sink.close()
    assert numbers(path) == [0, 1, 2]
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1]) == event(1).to_dict()


def test_the_file_may_be_moved_away(tmp_path: Path) -> None:
    """As logrotate does it."""
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    sink.send(event(1))
    path.rename(tmp_path / "events.jsonl.1")
    sink.send(event(2))
    assert (numbers(tmp_path / "events.jsonl.1"), numbers(path)) == ([1], [2])


def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Linux's own full device gives the disk's own error: counted, said once, and on when there is room again."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "events.jsonl"
    path.symlink_to("/dev/full")
    runner = SinkRunner(FileSink(path))
    for number in (1, 2, 3):
        runner.put(event(number))
    eventually(lambda: runner.state.lost == 3)
    assert runner.state.problem == f"can't write to {path}: No space left on device"
    path.unlink()
    runner.put(event(4))
    runner.close()
    assert numbers(path) == [4]
    assert (runner.state.sent, runner.state.lost, runner.state.problem) == (1, 3, None)
    assert [record.getMessage() for record in caplog.records] == [
        f"event file {path}: can't write to {path}: No space left on device; events are lost until it works again",
        f"event file {path} works again; 3 events were lost",
    ]


def test_a_line_is_whole_or_not_there(tmp_path: Path) -> None:
    """A limit on the file's size ends a line in the middle, as a disk does that fills up: the rest is taken back."""
    pytest.importorskip("resource")
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    sink.send(event(1))
    size = path.stat().st_size
    code = (
        "import resource, signal, sys; from edge_effnet.live.sinks import FileSink; from edge_effnet.live.events import Event\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {size + 20}))\n"
        "event = Event(2, 'cat', 1, 0.5, None, 0.0, 0.0, 1)\n"
        f"try: FileSink({str(path)!r}).send(event)\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "can't write to" in done.stdout
    assert numbers(path) == [1]
    assert path.stat().st_size == size
    sink.send(event(3))
    assert numbers(path) == [1, 3]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist; create it first"):
        FileSink(tmp_path / "gone" / "events.jsonl")


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_a_command_gets_the_event(tmp_path: Path) -> None:
    code = (
        "import json, os, sys; told = [os.environ[f'EDGE_EFFNET_{name}'] for name in ('LABEL', 'PREVIOUS', 'SCORE')];"
        f"open({str(tmp_path / 'got')!r}, 'w').write(json.dumps([json.load(sys.stdin), *told]))"
    )
    sink = CommandSink(python(code))
    sink.send(event(1))
    assert json.loads((tmp_path / "got").read_text()) == [event(1).to_dict(), "Köln", "cat", "0.5000"]
    sink.send(event(2, None))
    assert json.loads((tmp_path / "got").read_text())[1] == ""
    assert "EDGE_EFFNET_LABEL" not in os.environ
    sink.close()


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    sink = CommandSink(f"{shlex.quote(sys.executable)} -c pass '; touch {tmp_path}/made'")
    sink.send(event(1, f"$(touch {tmp_path}/made)"))
    assert not list(tmp_path.iterdir())


def test_a_command_that_fails_or_hangs() -> None:
    with pytest.raises(OutputError, match="ended with status 3"):
        CommandSink(python("raise SystemExit(3)")).send(event(1))
    with pytest.raises(OutputError, match=r"took longer than 0\.2 s and was ended"):
        CommandSink(python("import time; time.sleep(60)"), timeout_s=0.2).send(event(1))


@pytest.mark.parametrize(
    ("command", "message"),
    [("no-such-program-here x", "there is no program 'no-such-program-here'"), ("", "there is no program"), ("'", "No closing quotation")],
)
def test_commands_that_cannot_be_meant(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandSink(command)
