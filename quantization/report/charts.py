"""The report's charts as inline SVG that follows the page's colours.

matplotlib draws with stand-in colours; in the SVG they become the page's CSS variables, so that one drawing serves
light and dark. No dates and fixed salts: the same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge_effnet.errors import MissingDependencyError
from edge_effnet.quantization.report.held_out import HeldOut
from edge_effnet.quantization.report.summary import OUTLIER, EqualisedTensor, TensorReport

#: Stand-in colour → CSS variable.
INK, MUTED, GRID, MAIN, OTHER, BAD = "#010203", "#020304", "#030405", "#040506", "#050607", "#060708"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", MAIN: "main", OTHER: "other", BAD: "bad"}
#: In the SVG's own units, which a phone shows about one to one.
_WIDTH, _WIDE = 360, 1080
_FONT = 10.5
#: More channels than this are drawn as one shape.
_LINES = 40


def require_matplotlib() -> None:
    """Raises MissingDependencyError where matplotlib is missing: before minutes of work, not after."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "a report as .html needs matplotlib: pip install 'edge-effnet[export]'; a .json report doesn't"
        ) from error


def layers_chart(tensors: Sequence[TensorReport]) -> str:
    """Signal to noise along the network: each tensor alone as dots, block outputs with all before rounded as a line."""
    blocks = _blocks(tensors)
    with _drawing("layers", _WIDE, 320) as (figure, out):
        axes = _axes(figure)
        alone = _db(tensors, "local_sqnr_db")
        so_far = _db(tensors, "total_sqnr_db")
        ends = [last for _, _, last in blocks]
        for before, style in (
            (True, {"color": MUTED, "alpha": 0.55, "label": "before a swish"}),
            (False, {"color": MAIN, "label": "this tensor rounded alone"}),
        ):
            chosen = [index for index, tensor in enumerate(tensors) if tensor.before_swish is before]
            axes.plot(chosen, [alone[index] for index in chosen], "o", ms=3.4, mew=0, **style)
        axes.plot(
            ends,
            [so_far[last] for last in ends],
            "o-",
            color=OTHER,
            lw=1.8,
            ms=4.5,
            mew=0,
            label="block outputs, everything before rounded too",
        )
        axes.set_ylabel("signal to noise, dB")
        axes.set_xlim(-1, len(tensors) + 1)
        axes.set_ylim(0, (np.nanmax(alone) if np.isfinite(alone).any() else 1.0) * 1.15)
        _mark_blocks(axes, blocks)
        _name_weakest(axes, tensors, alone)
        axes.legend(
            frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=_FONT
        )
    return out[0]


def noise_chart(tensors: Sequence[TensorReport], *, most: int = 14) -> str:
    """The tensors that most logit noise is expected of."""
    chosen = sorted(tensors, key=lambda tensor: -tensor.noise_share)[:most]
    bars = [(tensor.name, 100 * tensor.noise_share, f"{100 * tensor.noise_share:.1f} %") for tensor in chosen]
    return _bars("noise", bars, "share of the logit noise expected, %")


def bias_chart(tensors: Sequence[TensorReport], *, most: int = 14) -> str:
    """The layers whose biases were corrected most."""
    chosen = sorted((tensor for tensor in tensors if tensor.bias_shift), key=lambda tensor: -(tensor.bias_shift or 0))[
        :most
    ]
    bars = [
        (tensor.name, 100 * (tensor.bias_shift or 0), f"{100 * (tensor.bias_shift or 0):.2g} %") for tensor in chosen
    ]
    return _bars("bias", bars, "bias shift, % of the output's deviation") if bars else ""


def equalisation_chart(equalised: Sequence[EqualisedTensor], *, most: int = 14) -> str:
    """Widest over median channel, before and after, for the tensors it changed most."""
    chosen = equalised[:most][::-1]
    if not chosen:
        return ""
    with _drawing("equalisation", _WIDTH, 60 + 19 * len(chosen)) as (figure, out):
        axes = _axes(figure, grid="x")
        rows = np.arange(len(chosen))
        axes.hlines(rows, [item.after for item in chosen], [item.before for item in chosen], color=GRID, lw=3)
        axes.plot([item.before for item in chosen], rows, "o", color=OTHER, ms=5, label="before")
        axes.plot([item.after for item in chosen], rows, "o", color=MAIN, ms=5, label="after")
        _name_rows(axes, [item.name for item in chosen])
        axes.set_xlabel("widest channel / median channel")
        axes.legend(
            frameon=False, labelcolor=INK, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=_FONT
        )
    return out[0]


def confidence_chart(held_out: HeldOut) -> str:
    """Float's score for its class against int8's score for the same class; changed answers are marked."""
    with _drawing("confidence", _WIDTH, 330) as (figure, out):
        axes = _axes(figure, grid="both")
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.9, dashes=(4, 3))
        for agrees, style in (
            (True, {"color": MAIN, "label": "same answer"}),
            (False, {"color": BAD, "label": "another answer"}),
        ):
            chosen = [photo for photo in held_out.photos if photo.agrees is agrees]
            if chosen:
                axes.plot(
                    [photo.float_score for photo in chosen],
                    [photo.kept for photo in chosen],
                    "o",
                    ms=5,
                    alpha=0.75,
                    mew=0,
                    **style,
                )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("score in float")
        axes.set_ylabel("score of the same class in int8")
        axes.legend(frameon=False, labelcolor=INK, loc="upper left", fontsize=_FONT, handletextpad=0.2)
    return out[0]


def tensor_chart(tensor: TensorReport) -> str:
    """A tensor's values with the range int8 reaches, and below how far each channel goes, outliers marked."""
    with _drawing(tensor.name, _WIDTH, 250) as (figure, out):
        values, channels = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
        for axes in (values, channels):
            _dress(axes, "x")
            axes.tick_params(left=False, labelleft=False)
            if tensor.low is not None and tensor.high is not None:
                axes.axvspan(tensor.low, tensor.high, color=MAIN, alpha=0.13, lw=0)
        edges = np.linspace(tensor.observed_low, tensor.observed_high or 1.0, len(tensor.histogram) + 1)
        values.stairs(np.log10(1 + np.asarray(tensor.histogram)), edges, fill=True, color=MAIN, lw=0)
        values.set_ylabel("values (log)")
        _channel_extents(channels, tensor)
        channels.set_ylabel("channels")
    return out[0]


def _channel_extents(axes: Any, tensor: TensorReport) -> None:
    """Each channel from its smallest to its largest value, widest on top; lines, or one shape where they are many."""
    low, high = np.asarray(tensor.channel_low), np.asarray(tensor.channel_high)
    order = np.argsort(-np.maximum(np.abs(low), np.abs(high)), kind="stable")
    rows, count, marked = -np.arange(len(order)), len(order), len(tensor.outliers)
    if count > _LINES:
        axes.fill_betweenx(rows, low[order], high[order], color=MAIN, lw=0)
    else:
        axes.hlines(rows, low[order], high[order], color=MAIN, lw=min(4.0, 60 / count))
    axes.hlines(rows[:marked], low[order][:marked], high[order][:marked], color=BAD, lw=min(4.0, max(1.2, 60 / count)))
    axes.set_ylim(-count + 0.3, max(0.7, count / 30))


def outlier_text(tensor: TensorReport) -> str:
    """The outlier channels in words."""
    if not tensor.outliers:
        return f"no channel beyond {OUTLIER:g}× the median"
    first = ", ".join(str(channel) for channel in tensor.outliers[:4]) + (" …" if len(tensor.outliers) > 4 else "")
    share = f"{len(tensor.outliers)} of {tensor.channels} channels"
    return f"{share} beyond {OUTLIER:g}× the median ({first}), widest {tensor.reach:.1f}×"


def _db(tensors: Sequence[TensorReport], field: str) -> list[float]:
    return [np.nan if getattr(tensor, field) is None else getattr(tensor, field) for tensor in tensors]


def _blocks(tensors: Sequence[TensorReport]) -> list[tuple[str, int, int]]:
    """(name, first index, last index) of each run of tensors: stem, the blocks by number, head."""
    found: list[tuple[str, int, int]] = []
    for index, tensor in enumerate(tensors):
        parts = tensor.name.split(".")
        block = (
            parts[1]
            if parts[0] == "blocks" and len(parts) > 1
            else "head"
            if any(name.isdecimal() for name, _, _ in found)
            else "stem"
        )
        first = found.pop()[1] if found and found[-1][0] == block else index
        found.append((block, first, index))
    return found


def _mark_blocks(axes: Any, blocks: Sequence[tuple[str, int, int]]) -> None:
    """A name under each block, every other one shaded."""
    axes.set_xticks([(first + last) / 2 for _, first, last in blocks], [name for name, _, _ in blocks])
    axes.set_xlabel("block")
    for _, first, last in blocks[1::2]:
        axes.axvspan(first - 0.5, last + 0.5, color=GRID, alpha=0.35, lw=0, zorder=0)


def _name_weakest(axes: Any, tensors: Sequence[TensorReport], values: Sequence[float], *, most: int = 4) -> None:
    order = sorted(
        (index for index, value in enumerate(values) if np.isfinite(value) and not tensors[index].before_swish),
        key=lambda index: values[index],
    )
    for index in order[:most]:
        axes.annotate(
            tensors[index].name.removeprefix("blocks."),
            (index, values[index]),
            (5, -3),
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
        )


def _bars(name: str, bars: Sequence[tuple[str, float, str]], label: str) -> str:
    """Horizontal bars, the first on top, each with its value."""
    with _drawing(name, _WIDTH, 50 + 19 * len(bars)) as (figure, out):
        axes = _axes(figure, grid="x")
        rows = np.arange(len(bars))[::-1]
        axes.barh(rows, [value for _, value, _ in bars], color=MAIN, height=0.62)
        for row, (_, value, text) in zip(rows, bars, strict=True):
            axes.annotate(text, (value, row), (4, 0), textcoords="offset points", va="center", color=INK, fontsize=9)
        _name_rows(axes, [name for name, _, _ in bars][::-1])
        axes.set_xlim(0, max(value for _, value, _ in bars) * 1.2 or 1)
        axes.set_xlabel(label)
    return out[0]


def _name_rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)), names, fontsize=9)
    axes.set_ylim(-0.7, len(names) - 0.3)


def _axes(figure: Any, *, grid: str = "y") -> Any:
    axes = figure.add_subplot()
    _dress(axes, grid)
    return axes


def _dress(axes: Any, grid: str) -> None:
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=MUTED, labelsize=_FONT)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=MUTED, fontsize=_FONT)


@contextmanager
def _drawing(name: str, width: float, height: float) -> Iterator[tuple[Any, list[str]]]:
    """A figure of so many units, and a list that holds the SVG afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    out: list[str] = []
    with matplotlib.rc_context(
        {"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans", "axes.formatter.useoffset": False}
    ):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        figure.patch.set_alpha(0)
        yield figure, out
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    out.append(_inline(file.getvalue()))


def _inline(svg: str) -> str:
    """The SVG without prolog, metadata, fixed size and names that stand twice on a page; its colours as variables."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL))
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    svg = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    return re.sub(r"\s*\n\s*", "\n", svg).replace("<svg ", '<svg role="img" ', 1)
