"""The line that says how far it is, how fast, and how long still."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from edge_effnet.cli import progress
from edge_effnet.cli.progress import Bar, StageBars, line, with_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error that is a terminal of 40 columns, and a clock that goes on by 0.5 s whenever it's looked at."""
    seconds = iter(range(10_000))
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(seconds) / 2))
    return found


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (120, 400, 4.0, "photos 120/400  30.0/s  0:09 left"),
        (1, 400, 10.0, "photos 1/400  0.1/s  1:06:30 left"),
        (400, 400, 4.0, "photos 400/400  100.0/s  0:00 left"),
        (7, None, 2.0, "photos 7  3.5/s"),
        (0, 9, 0.0, "photos 0/9  0.0/s"),
    ],
)
def test_the_line(done: int, total: int | None, seconds: float, expected: str) -> None:
    assert line("photos", done, total, seconds=seconds) == expected


def test_of_parts_a_percentage_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with StageBars(counted="parts") as bars:
        for done in (250, 500, 999, 1000):
            bars("features", done, 1000)
    assert "\rfeatures 50 %  0:02 left" in terminal.getvalue()
    assert line("features", 999, 1000, seconds=1.0, counted="parts") == "features 99 %  0:00 left"


def test_a_line_appears_after_a_second_and_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with Bar("photos", total=4) as bar:
        bar.step()
        assert terminal.getvalue() == ""
        bar.step()
        assert terminal.getvalue() == "\rphotos 2/4  2.0/s  0:01 left"
        bar.step(2)
    lines = terminal.getvalue().split("\r")
    assert lines[2].rstrip() == "photos 4/4  2.7/s  0:00 left"
    assert (lines[3].strip(), lines[4]) == ("", "")


def test_a_line_gives_way_to_output(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    name = "a very long name of what there is to do here"
    for number in with_progress(range(5), total=5, what=name):
        terminal.write(f"<{number}>")
    shown = [part for part in terminal.getvalue().split("\r") if part.strip()]
    assert shown == ["<0><1>", name[:39], "<2>", name[:39], "<3>", name[:39], "<4>", name[:39]]


def test_stages_have_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with StageBars() as bars:
        for stage in ("ranges", "moments"):
            for done in range(1, 5):
                bars(stage, done, 4)
    shown = terminal.getvalue()
    assert "\rranges 4/4" in shown
    assert "\rmoments 4/4" in shown
    assert shown.endswith("\r")


def test_a_stage_may_say_more_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with StageBars() as bars:
        for done, stage in enumerate(("refinement", "refinement, 1 dB", "refinement, 2 dB"), 1):
            bars(stage, done, 3)
    assert "\rrefinement, 2 dB 3/3" in terminal.getvalue()


def test_no_terminal_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    assert list(with_progress(range(3), total=3, what="photos")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
