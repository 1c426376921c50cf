"""What README.md, README.ja.md and docs/ say of the command line is what the command line does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edge_effnet.cli import main
from edge_effnet.cli.main import VERBS, parser_of
from edge_effnet.cli.parsing import options_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.ja.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = {verb: {name for action in options_of(parser_of(verb)) for name in action.option_strings} for verb in VERBS}
OURS = set().union(*OPTIONS.values()) | {"--print-completion"}
#: Of pip, uv, venv and systemd, and of the programs in benchmarks/ and examples/, each named beside its program.
OTHERS = {"--from", "--spec", "--system-site-packages", "--no-deps", "--client"}
OTHER_PROGRAMS = re.compile(r"benchmarks|examples|scripts/|tests/|peers|board|report|measure", re.IGNORECASE)
#: In every verb, and said once by `--help` itself.
EVERYWHERE = {"--help", "--debug", "--version"}
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
_BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:```\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def paragraphs(page: Path) -> list[str]:
    """Runs of lines without an empty one between them: an option stands in one with the program it is of."""
    return re.split(r"\n\s*\n", page.read_text(encoding="utf-8"))


def commands(text: str) -> list[list[str]]:
    """The words of each command of the program in a page's shell blocks."""
    lines = [line for block in _BLOCK.findall(text) for line in block[0].replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("edge-effnet ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_is_named_exists(page: Path) -> None:
    unknown = {
        (option, text[:60])
        for text in paragraphs(page)
        for option in set(_OPTION.findall(text)) - OURS - OTHERS
        if not OTHER_PROGRAMS.search(text)
    }
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_has_a_verb_and_options_that_it_takes(page: Path) -> None:
    wrong = [
        (words[0], option)
        for words in commands(page.read_text(encoding="utf-8"))
        if words[0] in VERBS
        for option in words[1:]
        if option.startswith("--") and option not in OPTIONS[words[0]]
    ]
    assert wrong == []
    verbs = {words[0] for words in commands(page.read_text(encoding="utf-8"))}
    assert {verb for verb in verbs if not verb.startswith("-")} <= VERBS.keys()


def test_what_is_said_of_installing_works_without_an_index() -> None:
    """No index has the package: pages and examples install from a clone; README alone quotes what messages say."""
    examples = [path for ending in ("py", "service", "md") for path in sorted((ROOT / "examples").rglob(f"*.{ending}"))]
    for page in [*PAGES, *(path for path in examples if "node_modules" not in path.parts)]:
        found = re.findall(r"pip install [^;&`\n]*\bedge-effnet\b[^;&`\n]*", page.read_text(encoding="utf-8"))
        allowed = ["pip install 'edge-effnet[export]'"] if page.parent == ROOT and "README" in page.name else []
        assert found == allowed, page


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_documented(verb: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "README.ja.md")
    named = set(_OPTION.findall(text))
    assert {name for name in OPTIONS[verb] if name.startswith("--")} - named - EVERYWHERE - {"--output"} == set()


def shown() -> list[tuple[list[str], str]]:
    """(words, what README shows) of blocks with one command that reads examples/ or nothing."""
    found = [(commands(f"```sh\n{sh}```\n"), out) for sh, out in _BLOCK.findall(PAGES[0].read_text(encoding="utf-8"))]
    return [(words[0], out) for words, out in found if out and len(words) == 1 and "examples/" in str(words)]


@pytest.mark.litert
def test_commands_print_what_readme_shows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert shown()
    for words, expected in shown():
        assert main(words) == 0
        assert capsys.readouterr().out == expected


def runnable() -> list[list[str]]:
    """README's commands that need nothing but this repository, and no camera."""
    found = commands(PAGES[0].read_text(encoding="utf-8"))
    return [words for words in found if words[0] == "doctor" or (words[0] == "predict" and "examples/" in words[1])]


@pytest.mark.litert
def test_the_commands_of_readme_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("examples", "edge_effnet"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    assert len(runnable()) > 5
    for words in runnable():
        assert main(words) == 0, words
        assert capsys.readouterr().out, words
