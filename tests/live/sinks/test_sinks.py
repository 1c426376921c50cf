from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.chromium import eventually

from edge_effnet.errors import OutputError, UsageError
from edge_effnet.live.delivery import SinkRunner
from edge_effnet.live.events import Event
from edge_effnet.live.sinks import CommandSink, FileSink
from edge_effnet.live.sinks import file as sink_module


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
        "import resource, signal, sys; from edge_effnet.live.sinks import FileSink; from edge_effnet.live.events "
        "import Event\n"
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


WHOLE = b'{"number": 0}\n'


@pytest.mark.parametrize(
    ("end", "torn"),
    [
        (b'{"time": "2026-05-04T12', b'{"time": "2026-05-04T12'),
        (b"{", b"{"),
        (b'{"label": "K\xc3', b'{"label": "K\xc3'),
        (b"\0" * 5000, b"\0" * 5000),
        (b'{"number": 1, "la' + b"\0" * 70_000, b'{"number": 1, "la' + b"\0" * 70_000),
        (b'\0\0\0"label": null}\n', b'\0\0\0"label": null}\n'),
        (b'{"number": 1}{"number"', b'{"number": 1}{"number"'),
        (b"{" + b'"a": [' * 10_000, b"{" + b'"a": [' * 10_000),
    ],
    ids=[
        "cut off",
        "one byte",
        "half a letter",
        "padding",
        "cut off and padded",
        "its first block is missing",
        "two in one",
        "too deep for JSON",
    ],
)
def test_what_a_power_cut_left_of_the_last_line_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: bytes, torn: bytes
) -> None:
    for before in (b"", WHOLE, WHOLE * 10_000):
        path = tmp_path / "events.jsonl"
        path.write_bytes(before + end)
        FileSink(path).send(event(1))
        FileSink(path).send(event(2))
        assert path.read_bytes().startswith(before)
        assert numbers(path) == [0] * before.count(b"\n") + [1, 2]
    said = [record.getMessage() for record in caplog.records]
    assert (
        said
        == [f"event file {path}: cut off {len(torn)} bytes at its end that are no whole line: {torn[: 1 << 16]!r:.200}"]
        * 3
    )


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (b"", b""),
        (b'{"number": 0}', WHOLE),
        (b'{"number": 0}\0\0', WHOLE),
        (b"\n\n", b"\n\n"),
        (b"# by hand\n\0", b"# by hand\n"),
    ],
    ids=["nothing", "a line that lacks its end", "with padding", "empty lines", "padding behind another's line"],
)
def test_whole_lines_stay(tmp_path: Path, end: bytes, kept: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(WHOLE + end)
    FileSink(path).send(event(1))
    assert path.read_bytes().startswith(WHOLE + kept + b'{"time"')
    assert path.read_bytes().count(b'"number": 1') == 1


@pytest.mark.parametrize(
    "foreign", [b"notes by hand", b"GIF89a\0\1\0\1\x80\0", b"{" + b"x" * 100_000, b"\0" + b"x" * 100_000]
)
def test_what_is_no_event_is_not_taken_away(tmp_path: Path, caplog: pytest.LogCaptureFixture, foreign: bytes) -> None:
    """A file named by mistake, or a line longer than any event: it only gets a line's end."""
    path = tmp_path / "notes"
    path.write_bytes(foreign)
    FileSink(path).send(event(1))
    head, _, line = path.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")
    assert (head, json.loads(line)["number"]) == (foreign, 1)
    assert caplog.records == []


def test_of_a_large_file_only_the_end_is_read(tmp_path: Path) -> None:
    """Five gigabytes of nothing, but for its last two lines."""
    path = tmp_path / "events.jsonl"
    with open(path, "wb") as file:
        file.seek(5_000_000_000)
        file.write(b"\n" + WHOLE + b'{"torn')
    FileSink(path).send(event(1))
    with open(path, "rb") as file:
        file.seek(5_000_000_001)
        assert [json.loads(line)["number"] for line in file] == [0, 1]


def test_a_torn_line_in_a_file_that_was_moved_away_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    sink.send(event(1))
    with open(path, "ab") as file:
        file.write(b'{"torn')
    path.rename(tmp_path / "events.jsonl.1")
    sink.send(event(2))
    assert (tmp_path / "events.jsonl.1").read_bytes().endswith(b'\n{"torn')
    assert numbers(path) == [2]


def test_a_file_moved_away_between_opening_and_mending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event goes into the moved file, as before; the new one under its name isn't touched."""
    path, moved = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    path.write_bytes(WHOLE)

    def rotate(_: int, **_options: float) -> None:
        path.rename(moved)
        path.write_bytes(b'{"torn')

    monkeypatch.setattr("edge_effnet.live.sinks.file.lock", rotate)
    FileSink(path).send(event(1))
    assert (numbers(moved), path.read_bytes()) == ([0, 1], b'{"torn')


def test_a_file_that_may_only_grow_gets_a_lines_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `chattr +a` makes it."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(WHOLE + b'{"torn')

    def refused(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "ftruncate", refused)
    FileSink(path).send(event(1))
    assert [line[:9] for line in path.read_text().splitlines()] == ['{"number"', '{"torn', '{"time": ']


def test_a_file_that_may_only_be_written_is_not_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(WHOLE + b'{"torn')

    def refusing(file: Any, mode: str, **options: Any) -> Any:
        if mode == "rb":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(file, mode, **options)

    monkeypatch.setattr("edge_effnet.live.sinks.file.open", refusing, raising=False)
    FileSink(path).send(event(1))
    assert path.read_bytes().startswith(WHOLE + b'{"torn{"time": ')


def test_what_another_program_appends_meanwhile_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(WHOLE + b'{"torn')
    whole_part = sink_module._whole_part

    def slow(*arguments: Any) -> Any:
        found = whole_part(*arguments)
        with open(path, "ab") as other:  # without the lock
            other.write(b"\n" + WHOLE)
        return found

    monkeypatch.setattr(sink_module, "_whole_part", slow)
    FileSink(path).send(event(1))
    assert path.read_bytes().startswith(WHOLE + b'{"torn\n' + WHOLE)
    assert json.loads(path.read_bytes().splitlines()[-1])["number"] == 1


def test_a_file_that_another_process_keeps_locked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "events.jsonl"
    monkeypatch.setattr(sink_module, "_LOCK_WAIT_S", 0.0)
    with open(path, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process keeps it locked"):
            FileSink(path).send(event(1))
    FileSink(path).send(event(2))
    assert numbers(path) == [2]


def test_pipes_and_terminals_get_the_line_as_it_is(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    FileSink(fifo).send(event(1))
    assert json.loads(os.read(reader, 1 << 16))["number"] == 1
    os.close(reader)
    controller, terminal = os.openpty()
    FileSink(os.ttyname(terminal)).send(event(2))
    assert json.loads(os.read(controller, 1 << 16))["number"] == 2
    os.close(controller)
    os.close(terminal)
    code = (
        "from edge_effnet.live.sinks import FileSink; from edge_effnet.live.events import Event\n"
        "FileSink('/dev/stdout').send(Event(3, None, None, None, None, 0.0, 0.0, 1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=True)
    assert json.loads(done.stdout)["number"] == 3


def test_two_programs_may_write_to_one_file(tmp_path: Path) -> None:
    """Each mends what it takes for torn: never a line that the other is just writing."""
    path = tmp_path / "events.jsonl"
    code = (
        "import sys; from edge_effnet.live.sinks import FileSink; from edge_effnet.live.events import Event\n"
        f"sink = FileSink({str(path)!r})\n"
        "for number in range(100): sink.send(Event(number, 'x' * 9000, 1, 0.5, None, 0.0, 0.0, 1))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 2
    assert sorted(numbers(path)) == sorted([*range(100)] * 2)


def test_a_disk_that_fails_loses_the_event_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    FileSink(path).send(event(1))

    def failed(number: int) -> Callable[[int], None]:
        def sync(_: int) -> None:
            raise OSError(number, os.strerror(number))

        return sync

    monkeypatch.setattr(os, "fdatasync", failed(errno.EIO))
    with pytest.raises(OutputError, match="Input/output error"):
        FileSink(path).send(event(2))
    monkeypatch.setattr(os, "fdatasync", failed(errno.EINVAL))  # a file system that has no such thing
    FileSink(path).send(event(3))
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
    [
        ("no-such-program-here x", "there is no program 'no-such-program-here'"),
        ("", "there is no program"),
        ("'", "No closing quotation"),
    ],
)
def test_commands_that_cannot_be_meant(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandSink(command)


def test_a_commands_complaint_is_bounded_and_said(caplog: pytest.LogCaptureFixture) -> None:
    endless = "import sys; [sys.stderr.write('\x1b' + 1000 * 'x') for _ in range(20_000)]"
    with pytest.raises(OutputError, match=r"ended with status 3: \\x1bxxx") as caught:
        CommandSink(python(f"{endless}; raise SystemExit(3)")).send(event(1))
    assert len(str(caught.value)) <= 500
    CommandSink(python("import sys; print('careful', file=sys.stderr)")).send(event(1))
    assert caplog.messages == [f"command {sys.executable}: careful"]


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("ending", ["timeout", "abandon"])
def test_a_command_is_ended_with_all_it_has_started(tmp_path: Path, ending: str) -> None:
    note = tmp_path / "pid"
    command = f"sh -c 'sleep 60 & echo $! > {note}.new; mv {note}.new {note}; wait'"
    sink = CommandSink(command, timeout_s=3 if ending == "timeout" else 60)
    failed: list[str] = []

    def send() -> None:
        try:
            sink.send(event(1))
        except OutputError as error:
            failed.append(str(error))

    thread = threading.Thread(target=send)
    thread.start()
    pid = int(eventually(lambda: note.exists() and note.read_text()))
    if ending == "abandon":
        sink.abandon()
    thread.join(20)
    eventually(lambda: _gone(pid))
    assert ("took longer" if ending == "timeout" else "ended with status") in failed[0]
    if ending == "abandon":
        with pytest.raises(OutputError, match="the camera ends"):
            sink.send(event(2))


def test_what_a_command_leaves_in_the_background_ends_with_the_camera(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    sink = CommandSink(f"sh -c 'sleep 60 & echo $! > {note}'")
    sink.send(event(1))
    pid = int(note.read_text())
    assert not _gone(pid), "until then it may run on"
    sink.close()
    eventually(lambda: _gone(pid))
