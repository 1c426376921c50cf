"""What was learned as one HTML page: no script, no request, light and dark, from a phone to a desk."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from edge_effnet.decoding import ImageRules, decode
from edge_effnet.errors import ImageError
from edge_effnet.learning.judging import Doubt
from edge_effnet.page_style import STYLE
from edge_effnet.text import printable

if TYPE_CHECKING:
    from edge_effnet.learning.learn import Learned

_SIDE = 160
_MOST_SHOWN = 24
_WORTH_TELLING = 0.0005
#: Classes beyond which a matrix says less than a row for each of them.
_MOST_IN_MATRIX = 20
_MOST_TAKEN_FOR = 4
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}{own}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""
_OWN = """
.matrix td, .matrix th { max-width: 7.5rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix td, .matrix th { text-align: right; }
.matrix th:first-child { position: sticky; left: 0; max-width: 9rem; background: var(--card); text-align: left; }
.matrix td.own { font-weight: 650; }
.matrix td.wrong { color: var(--bad); }
.matrix td.none { color: var(--muted); }
.rows td { overflow-wrap: anywhere; vertical-align: top; }
.rows td + td { white-space: nowrap; }
.rows td:last-child { white-space: normal; }
li { overflow-wrap: anywhere; }
.card ul { margin: 0; padding-left: 1.2rem; }
"""


def report_page(learned: Learned, *, image_rules: ImageRules) -> str:
    """The whole document. image_rules: for the photos that are shown."""
    title = f"{printable(learned.path.name)}: {len(learned.labels)} classes"
    body = (
        f"<h1>{escape(title)}</h1><p>Learned from {sum(learned.photos.values()):,} photos. The figures are of photos "
        "held out in turn, which the network hadn't seen when it was asked.</p>",
        _tiles(learned),
        _confusion(learned),
        _doubts(learned.doubtful, image_rules),
        _wants(learned),
        _left_out(learned.left_out),
    )
    return _PAGE.format(title=escape(title), style=STYLE, own=_OWN, body="\n".join(part for part in body if part))


def _tiles(learned: Learned) -> str:
    tiles = []
    if learned.accuracy is None or learned.interval is None:
        tiles.append(("–", "recognised", "too few photos to hold some out"))
    else:
        low, high = (100 * value for value in learned.interval)
        tiles.append((f"{100 * learned.accuracy:.1f} %", "recognised", f"{low:.0f} to {high:.0f} %, 95 % interval"))
    fewest = min(learned.photos, key=lambda label: learned.photos[label])
    tiles.append(
        (f"{sum(learned.photos.values()):,}", "photos", f"fewest of {printable(fewest)}: {learned.photos[fewest]}")
    )
    told = "–" if learned.threshold is None else f"{learned.threshold:.3f}"
    tiles.append((told, "likeness below which a photo is unknown", "cosine with the nearest photos, at most 1"))
    cards = (
        f'<div class="tile"><b>{escape(b)}</b><span>{escape(s)}</span><small>{escape(n)}</small></div>'
        for b, s, n in tiles
    )
    return f'<div class="tiles">{"".join(cards)}</div>'


def _confusion(learned: Learned) -> str:
    if learned.accuracy is None:
        return ""
    if len(learned.labels) > _MOST_IN_MATRIX:
        return _class_rows(learned)
    head = "".join(map(_heading, learned.labels))
    rows = "".join(
        f"<tr>{_heading(label)}{_cells(place, row)}</tr>"
        for place, (label, row) in enumerate(zip(learned.labels, learned.confusion, strict=True))
    )
    return _section(
        "What is taken for what",
        "A row a class as it is, a column as it was taken.",
        f'<div class="card scroll"><table class="matrix"><tr><th></th>{head}</tr>{rows}</table></div>',
    )


def _heading(label: str) -> str:
    """Its column is narrow: a long one is cut off, and whole in its title."""
    shown = escape(printable(label))
    return f'<th title="{shown}">{shown}</th>'


def _class_rows(learned: Learned) -> str:
    """A row a class, those with most errors first, and what each is taken for."""
    rows = sorted(enumerate(learned.confusion), key=lambda item: item[1][item[0]] - sum(item[1]))
    body = "".join(
        f"<tr><td>{escape(printable(learned.labels[place]))}</td><td>{row[place]} of {sum(row)}</td>"
        f"<td>{escape(_taken_for(learned.labels, place, row))}</td></tr>"
        for place, row in rows
    )
    head = "<tr><th>class</th><th>recognised</th><th>otherwise taken for</th></tr>"
    return _section(
        "What is taken for what",
        "A row a class, those with most errors first.",
        f'<div class="card scroll"><table class="rows">{head}{body}</table></div>',
    )


def _taken_for(labels: Sequence[str], place: int, row: Sequence[int]) -> str:
    wrong = sorted((-count, column) for column, count in enumerate(row) if count and column != place)
    told = [f"{printable(labels[column])} ({-count})" for count, column in wrong[:_MOST_TAKEN_FOR]]
    return ", ".join([*told, *(["…"] if len(wrong) > _MOST_TAKEN_FOR else [])])


def _cells(place: int, row: Sequence[int]) -> str:
    kinds = ("own" if column == place else "wrong" if count else "none" for column, count in enumerate(row))
    return "".join(
        f'<td class="{kind}">{"·" if kind == "none" else count}</td>' for kind, count in zip(kinds, row, strict=True)
    )


def _doubts(doubts: Sequence[Doubt], rules: ImageRules) -> str:
    if not doubts:
        return ""
    return _section(
        "Perhaps misfiled",
        "Photos that look like another class to a network which hasn't seen them. Look at each: is it in the right "
        "folder?",
        f'<div class="photos">{"".join(_figure(doubt, rules) for doubt in doubts[:_MOST_SHOWN])}</div>',
    )


def _figure(doubt: Doubt, rules: ImageRules) -> str:
    return (
        f'<figure><img alt="" src="{_thumbnail(doubt, rules)}"><figcaption>'
        f"<b>{escape(printable(doubt.label))}</b><span>looks like {escape(printable(doubt.looks_like))}</span>"
        f"<i>{100 * doubt.score:.0f} %</i><small>{escape(printable(doubt.path.name))}</small></figcaption></figure>"
    )


def _thumbnail(doubt: Doubt, rules: ImageRules) -> str:
    """The photo as a data address; nothing where it has gone since."""
    from PIL import ImageOps

    try:
        small = ImageOps.fit(decode(doubt.path, rules=rules), (_SIDE, _SIDE))
    except ImageError:
        return "data:,"
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _wants(learned: Learned) -> str:
    rows = "".join(
        f"<tr><td>{escape(printable(label))}</td><td>{learned.photos[label]}</td><td>{100 * gain:+.2f} points</td></tr>"
        for label, gain in learned.wants.items()
        if gain >= _WORTH_TELLING
    )
    if not rows:
        return ""
    return _section(
        "What more photos would bring",
        "From the learning curve, through half the photos and all: what ten more of a class might add to the share "
        "that is recognised.",
        f'<div class="card"><table><tr><th>class</th><th>photos</th><th>ten more</th></tr>{rows}</table></div>',
    )


def _left_out(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(printable(line))}</li>" for line in lines)
    return _section("Left out", "", f'<div class="card"><ul>{items}</ul></div>') if items else ""


def _section(title: str, text: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2><p>{escape(text)}</p>{body}"
