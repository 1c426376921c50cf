"""README.ja.md says what README.md says: the same headings, code, tables, commands, links and figures, section by
section.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH, JAPANESE = (ROOT / name for name in ("README.md", "README.ja.md"))
COMMANDS = ("edge-effnet", "make", "pip")


@dataclass
class Section:
    level: int
    code: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)  # paragraphs and list items
    blocks: list[str] = field(default_factory=list)  # what comes after what

    def spans(self) -> Counter[str]:
        """Everything in backticks outside tables; the order of words differs between the languages."""
        return Counter(span for text in self.prose for span in inline_code(text))

    def links(self) -> Counter[str]:
        targets = (
            target
            for text in [*self.prose, *(cell for table in self.tables for row in table for cell in row)]
            for target in link_targets(text)
        )
        return Counter(target for target in targets if target not in (ENGLISH.name, JAPANESE.name))

    def figures(self) -> Counter[str]:
        """Numbers that stand by themselves: the 8 of int8 and the 64 of x86-64 belong to names."""
        return Counter(
            number
            for text in self.prose
            for number in re.findall(r"(?<![A-Za-z\d.,–-])\d+(?:[.,]\d+)*", re.sub(r"`[^`]*`", "", text))
        )


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def link_targets(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text)


def cell_facts(cell: str) -> tuple[Counter[str], Counter[str], bool]:
    return Counter(inline_code(cell)), Counter(re.findall(r"\d+(?:[.,]\d+)*", cell)), cell == ""


def sections(text: str) -> list[Section]:
    found: list[Section] = []
    lines = iter(text.splitlines())
    previous = ""
    for line in lines:
        if heading := re.match(r"(#+) \S", line):
            found.append(Section(len(heading[1])))
        elif line.startswith("```"):
            block = [line]
            for inner in lines:
                block.append(inner)
                if inner == "```":
                    break
            found[-1].code.append("\n".join(block))
            found[-1].blocks.append("code")
        elif line.startswith("|"):
            if not previous.startswith("|"):
                found[-1].tables.append([])
                found[-1].blocks.append("table")
            found[-1].tables[-1].append(
                [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
            )
        elif line.startswith("- "):
            found[-1].prose.append(line)
            found[-1].blocks.append("item")
        elif line:
            if previous == "" or not found[-1].blocks or found[-1].blocks[-1] not in ("item", "paragraph"):
                found[-1].prose.append("")
                found[-1].blocks.append("paragraph")
            found[-1].prose[-1] += f" {line.strip()}"
        previous = line
    return found


def differences(english: str, japanese: str) -> list[str]:
    ours, theirs = sections(english), sections(japanese)
    if [section.level for section in ours] != [section.level for section in theirs]:
        return ["headings"]
    wrong: list[str] = []
    for number, (en, ja) in enumerate(zip(ours, theirs, strict=True)):
        same = {
            "order of blocks": en.blocks == ja.blocks,
            "code blocks": en.code == ja.code,
            "inline code": en.spans() == ja.spans(),
            "links": en.links() == ja.links(),
            "figures": en.figures() <= ja.figures(),  # Japanese writes in digits what English writes in words
            "size of tables": [[len(row) for row in table] for table in en.tables]
            == [[len(row) for row in table] for table in ja.tables],
            "cells": [[list(map(cell_facts, row)) for row in table] for table in en.tables]
            == [[list(map(cell_facts, row)) for row in table] for table in ja.tables],
        }
        wrong += [f"section {number}: {what}" for what, equal in same.items() if not equal]
    return wrong


@pytest.fixture(scope="module")
def english() -> str:
    return ENGLISH.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def japanese() -> str:
    return JAPANESE.read_text(encoding="utf-8")


def test_the_two_agree(english: str, japanese: str) -> None:
    assert differences(english, japanese) == []


def test_each_links_the_other_at_the_top(english: str, japanese: str) -> None:
    assert english.splitlines()[2] == f"日本語: [{JAPANESE.name}]({JAPANESE.name})"
    assert japanese.splitlines()[2] == f"English: [{ENGLISH.name}]({ENGLISH.name})"


def test_what_is_compared_is_there(english: str) -> None:
    """A parser that found nothing would find everything equal."""
    found = sections(english)
    assert len(found) > 5
    assert sum(len(section.code) for section in found) == len(re.findall(r"^```", english, re.MULTILINE)) / 2 > 5
    assert sum(len(section.tables) for section in found) == len(re.findall(r"^\|(?:-+\|)+$", english, re.MULTILINE)) > 2
    spans = [
        span
        for section in found
        for text in [*section.prose, *(c for t in section.tables for r in t for c in r)]
        for span in inline_code(text)
    ]
    assert all(any(span.startswith(command) for span in spans) for command in COMMANDS)


def test_the_translation_is_in_japanese(japanese: str) -> None:
    assert all(
        re.search(r"[ぁ-んァ-ヶ一-龠]", text)
        for section in sections(japanese)
        for text in section.prose
        if ENGLISH.name not in link_targets(text)
    )


def a_number_of_a_table(text: str) -> str:
    return re.sub(r"(?m)^(\|.*?)(\d+\.\d+)( MB.*\|)$", r"\g<1>99.9\3", text, count=1)


def a_command_in_a_table(text: str) -> str:
    return re.sub(r"(?m)^(\|.*)`edge-effnet [^`]*`", r"\1`edge-effnet changed`", text, count=1)


def a_row_less(text: str) -> str:
    return re.sub(r"(?m)^\| `.*\n", "", text, count=1)


def a_column_more(text: str) -> str:
    return re.sub(r"(?m)^\|.*\|$", r"\g<0> x |", text)


def a_code_block(text: str) -> str:
    return re.sub(r"(?m)^make test", "make check", text, count=1)


def an_inline_command(text: str) -> str:
    return re.sub(r"`make [^`]*`", "`make changed`", text, count=1)


def a_heading_less(text: str) -> str:
    return re.sub(r"(?m)^## .*\n", "", text, count=1)


def a_heading_deeper(text: str) -> str:
    return re.sub(r"(?m)^## ", "### ", text, count=1)


def a_paragraph_more(text: str) -> str:
    return f"{text}\n追加 added\n"


def a_figure_in_a_sentence(text: str) -> str:
    return text.replace("90.03 %", "91.03 %")


def a_link(text: str) -> str:
    return text.replace("(docs/deploy.md)", "(docs/accuracy.md)")


@pytest.mark.parametrize(
    "change",
    [
        a_number_of_a_table,
        a_command_in_a_table,
        a_row_less,
        a_column_more,
        a_code_block,
        an_inline_command,
        a_heading_less,
        a_heading_deeper,
        a_paragraph_more,
        a_figure_in_a_sentence,
        a_link,
    ],
)
def test_a_change_to_one_alone_is_noticed(english: str, japanese: str, change: Callable[[str], str]) -> None:
    assert change(english) != english
    assert change(japanese) != japanese
    assert differences(change(english), japanese)
    assert differences(english, change(japanese))
    assert differences(change(english), change(japanese)) == []
