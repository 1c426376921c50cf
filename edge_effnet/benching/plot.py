"""A chart of rows: latency against the accuracy that the files record, or against their size."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_effnet.errors import MissingDependencyError

_INCHES = (7.2, 4.8)
#: Rows that one column of names still leaves room for.
_MANY = 6
_MARKERS = "osD^vP*X"
_PERCENT = 100.0
_MB = 1e-6


def require_matplotlib() -> None:
    """Raises MissingDependencyError where matplotlib is missing: before the measuring, not after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("--plot needs matplotlib: pip install 'edge-effnet[export]'") from error


def plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """An SVG: a dot at the median of `inference_ms`, a line to its p90. The same rows give the same bytes.

    Up is top-1 where every file records one, otherwise the file's size.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with mpl.rc_context(
        {"svg.hashsalt": "edge-effnet", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    ):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        title, heights = _heights(rows)
        for place, (row, height) in enumerate(zip(rows, heights, strict=True)):
            middle, slow = (row["inference_ms"][name] for name in ("p50", "p90"))
            axes.plot([middle, slow], [height, height], color=f"C{place % 10}", lw=1, alpha=0.6)
            axes.plot(
                middle,
                height,
                _MARKERS[place % len(_MARKERS)],
                color=f"C{place % 10}",
                ms=7,
                alpha=0.85,
                label=f"{label(row)}: {middle:.1f} ms",
            )
        axes.set(
            xlabel="inference, ms (mark: median, line: to the 90th percentile)",
            ylabel=title,
            xlim=(0, 1.1 * max(row["inference_ms"]["p90"] for row in rows)),
        )
        axes.margins(y=0.2)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", frameon=False, ncols=1 if len(rows) < _MANY else 2)
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _heights(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]]:
    accuracies = [row["accuracy"]["top1"] for row in rows if row["accuracy"]]
    if len(accuracies) == len(rows):
        return "top-1 recorded in the file, %", [_PERCENT * value for value in accuracies]
    return "file size, MB", [_MB * row["size_bytes"] for row in rows]


def label(row: Mapping[str, Any]) -> str:
    """A row's name in the chart."""
    threads, workers = (f"{row[what]} {what[: None if row[what] > 1 else -1]}" for what in ("threads", "workers"))
    named = f"{Path(row['model']).name}, {row['engine']}, {threads}"
    return f"{named}, {workers}" if row["workers"] > 1 else named
