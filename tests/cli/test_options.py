"""Options without effect: every verb, every option."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edge_effnet.cli.main import VERBS, parser_of
from edge_effnet.cli.parsing import needed_by, options_of

from .conftest import PHOTOS, Run, is_one_error

#: What a verb must be given.
NEEDED_WORDS = {
    "predict": ["a.jpg"],
    "info": ["m.tflite"],
    "edit": ["m.tflite", "-o", "n.tflite"],
    "learn": ["photos", "-o", "m.tflite"],
    "export": ["a.pth", "-o", "m.tflite"],
    "eval": ["m.tflite", "data"],
    "compare": ["a.tflite", "b.tflite", "data"],
    "preprocess": ["a.jpg", "--model", "m.tflite", "-o", "seen.png"],
}
#: phrase of `goes_with` → words under which the option has no effect, where the defaults aren't such.
UNDER = {
    "with --engine numpy": ["--engine", "numpy"],
    "with --engine numpy alone": ["--engine", "numpy"],
    "with --group or --confusion": ["--group", "a=b"],
    "with --format json, which lists them anyway": ["--format", "json"],
    "with a file or folder as --source": ["--source", str(PHOTOS)],
    "with --keep-classes": ["--keep-classes"],
}
#: Options that say a number want one that they take.
VALUES = {
    "--fps": "5",
    "--fill": "1,2,3",
    "--mean": "0.5",
    "--std": "0.5",
    "--size": "64x64",
    "--seed": "7",
    "--loop": None,
    "--gpio": "17=cat",
    "--unknown": "off",
}
#: Options that have an effect by themselves, whatever else is said; a new option stands here or has a `goes_with`.
ALWAYS = {
    "common": {"--help", "--debug", "--version", "--format", "--engine"},
    "predict": {"--model", "--top-k", "--threshold", "--labels", "--allow", "--deny", "--group", "--margin", "--output"}
    | {"--unknown", "--heatmap"}
    | {"--save", "--skip-errors", "--workers", "--sha256", "--probe", "--full-decode", "--image-size"}
    | {"--max-pixels", "--max-bytes", "--allow-truncated", "--allow-tiff"},
    "info": {"--verify", "--labels"},
    "learn": {"--output", "--base", "--cache", "--report", "--keep-classes"}
    | {"--max-pixels", "--max-bytes", "--allow-truncated", "--allow-tiff"},
    "edit": {"--output", "--labels", "--name", "--mean", "--std", "--interpolation", "--resize"},
    "export": {"--output", "--precision", "--source", "--variant", "--weights", "--image-size", "--padding-size"}
    | {"--labels", "--mean", "--std", "--crop-pct", "--resize", "--interpolation", "--resize-mode", "--resizer"}
    | {"--channels", "--head", "-o", "--no-verify"}
    | {"--head-activation", "--thresholds"},  # which heads take them is known from the weights alone: refused there
    "eval": {"--limit", "--labels", "--group", "--confusion", "--no-record", "--workers", "--sha256", "--probe"}
    | {"--full-decode", "--image-size", "--max-pixels", "--max-bytes", "--allow-truncated", "--allow-tiff"},
    "compare": {"--limit", "--labels", "--workers", "--image-size"}
    | {"--max-pixels", "--max-bytes", "--allow-truncated", "--allow-tiff"},
    "bench": {"--image", "--runs", "--warmup", "--workers", "--plot", "--image-size"},
    "camera": {"--source", "--model", "--labels", "--group", "--every", "--roi", "--rotate", "--flip", "--allow"}
    | {"--deny", "--enter", "--leave", "--smoothing", "--agree", "--margin", "--events", "--command", "--mqtt"}
    | {"--web", "--image-size", "--unknown", "--motion", "--snapshot", "--gpio", "--inbox"},
    "preprocess": {"--model", "--output", "--array", "--image-size"}
    | {"--max-pixels", "--max-bytes", "--allow-truncated", "--allow-tiff"},
    "doctor": set(),
}
CASES = [(verb, action) for verb in VERBS for action in options_of(parser_of(verb)) if action.option_strings]


def longest(action: argparse.Action) -> str:
    return max(action.option_strings, key=len)


def words_for(action: argparse.Action) -> list[str]:
    """The option as it might be said."""
    name = action.option_strings[0]
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return [name]
    value = VALUES.get(name) or (str(next(iter(action.choices))) if action.choices else "3")
    return [name, value]


@pytest.mark.parametrize(("verb", "action"), CASES, ids=lambda value: getattr(value, "dest", value))
def test_an_option_without_effect_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, action: argparse.Action
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = needed_by(action)
    if needed is None:
        names = set(action.option_strings) | {longest(action)}
        assert names & (ALWAYS["common"] | ALWAYS[verb]), (
            f"{verb} {longest(action)}: say with goes_with what it needs, or list it in ALWAYS if it always has an effect"
        )
        return
    outcome = run(verb, *NEEDED_WORDS.get(verb, []), *UNDER.get(needed.phrase, []), *words_for(action))
    assert is_one_error(outcome, f"has no effect {needed.phrase} (see edge-effnet {verb} --help)")


def test_an_option_that_has_an_effect_is_not(run: Run) -> None:
    """Saying the default is no mistake where the option counts."""
    words = ("export", "none.pth", "-o", "m.tflite", "--precision", "int8", "--calibration", ".", "--seed", "0")
    assert "no effect" not in run(*words).err
    assert "--seed has no effect" in run("export", "none.pth", "-o", "m.tflite", "--seed", "0").err


@pytest.mark.parametrize("verb", sorted(NEEDED_WORDS))
def test_an_empty_argument_is_refused(run: Run, verb: str) -> None:
    """What a shell makes of "$PHOTOS" where that was never set; as a path it would be the working directory."""
    words = [*NEEDED_WORDS[verb]]
    words[0] = ""
    assert is_one_error(run(verb, *words), "is empty; say what it is (is a variable of the shell unset?)")


def test_an_empty_option_is_refused(run: Run) -> None:
    words = ("learn", "photos", "-o", "m.tflite")
    assert is_one_error(run(*words, "--cache", ""), "--cache is empty; say what it is")
    assert is_one_error(run("predict", "a.jpg", "--model", ""), "--model is empty; say what it is")
    assert is_one_error(run("predict", "a.jpg", ""), "SOURCE is empty; say what it is")


def takes_files(verb: str) -> bool:
    names = [name for action in options_of(parser_of(verb)) for name in action.option_strings or [action.dest]]
    return verb in NEEDED_WORDS or not {"--model", "models"}.isdisjoint(names)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if takes_files(verb)])
def test_addresses_are_refused_in_every_verb(run: Run, verb: str) -> None:
    words = [*NEEDED_WORDS.get(verb, [])]
    if words:
        words[0] = "https://example.com/x"
    else:
        words = ["https://example.com/x"] if verb == "bench" else ["--model", "https://example.com/x"]
    assert is_one_error(run(verb, *words), "https://example.com/x: addresses aren't read; download the file first")


def test_the_hint_names_the_verb(run: Run) -> None:
    assert is_one_error(
        run("predict", "a.jpg", "--wat"), "unrecognized arguments: --wat (see edge-effnet predict --help)"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(run: Run, shell: str) -> None:
    pytest.importorskip("shtab")
    outcome = run("--print-completion", shell)
    assert outcome.status == 0
    assert "predict" in outcome.out
    assert "skip-errors" in outcome.out


def test_completion_without_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert is_one_error(run("--print-completion", "bash"), "pip install 'edge-effnet[completion]'")
