"""The report as one HTML page: no script, no request, light and dark, from a phone to a desk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from edge_effnet.metadata import title_of
from edge_effnet.page_style import STYLE
from edge_effnet.quantization.report.charts import (
    bias_chart,
    confidence_chart,
    equalisation_chart,
    layers_chart,
    noise_chart,
    outlier_text,
    tensor_chart,
)
from edge_effnet.quantization.report.held_out import HeldOut, ShownPhoto
from edge_effnet.quantization.report.summary import QuantizationReport, SplitBlock, Subject, TensorReport

#: Tensors whose values are drawn: those with most of the expected logit noise.
_DRAWN = 5


def render_page(report: QuantizationReport) -> str:
    """The whole document. Raises MissingDependencyError without matplotlib."""
    subject = report.subject
    title = f"{title_of(subject.variant)} in int8"
    sections = (
        _header(title, report),
        *(_held_out(report.held_out) if report.held_out else ()),
        _section(
            "Along the network",
            "Signal to noise of every tensor. Dots: this tensor alone rounded, its inputs exact; a blue dot far below "
            "its "
            "neighbours is a weak spot. Grey ones may be low: what a swish would flatten is cut on purpose. Line: a "
            "block's "
            "output with everything up to here rounded, which is what the next block gets.",
            f'<div class="card wide"><div class="scroll">{layers_chart(report.tensors)}</div></div>',
        ),
        _section(
            "Where the noise comes from",
            "How much each tensor's rounding is expected to disturb the logits, and what its values look like. Shaded: "
            "what int8 reaches; values beyond it are clipped. Lower half: each channel from its smallest to its "
            "largest "
            "value, the widest on top.",
            '<div class="grid"><figure '
            f'class="card">{noise_chart(report.tensors)}</figure>{_tensor_cards(report.tensors)}</div>',
        ),
        _changes(report),
        _all_tensors(report.tensors),
        _origin(subject),
    )
    return _PAGE.format(title=escape(title), style=STYLE, body="\n".join(sections))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _section(title: str, text: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n<p>{escape(text)}</p>\n{content}\n</section>"


def _header(title: str, report: QuantizationReport) -> str:
    subject, held_out = report.subject, report.held_out
    tiles = [_tile(*found) for found in (_held_out_tiles(held_out) if held_out else ())]
    lead = (
        f"{subject.num_classes} classes, {subject.image_size} pixels, calibrated on "
        f"{subject.calibration_images} photos{f', measured on {held_out.images} others' if held_out else ''}."
    )
    remarks = "".join(f'<p class="remark">{escape(text)}</p>' for text in subject.remarks)
    return f'<header>\n<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n{remarks}\n<div class="tiles">{"".join(tiles)}</div>\n</header>'


def _held_out_tiles(found: HeldOut) -> Iterable[tuple[str, str, str]]:
    low, high = found.agreement_interval
    same = sum(photo.agrees for photo in found.photos)
    if found.decision_agreement is not None:
        detail = f"every class of {same} of {found.images} photos"
        yield _percent(found.decision_agreement), "of the decisions as in float", detail
    else:
        yield (
            _percent(found.top1_agreement),
            "same answer as float",
            f"{same} of {found.images} photos; 95 % interval {100 * low:.0f}–{100 * high:.0f} %",
        )
    if found.float_top1 is not None and found.int8_top1 is not None:
        yield (
            _percent(found.int8_top1),
            "right answers in int8",
            f"{_percent(found.float_top1)} in float; the photos' folders are their classes",
        )
    yield (
        "∞" if found.logit_sqnr_db is None else f"{found.logit_sqnr_db:.1f} dB",
        "logits, signal to noise",
        "20 dB: the error is a tenth of the signal",
    )
    yield (
        f"{100 * found.drift:+.2f} pt".replace("-", "−"),
        "confidence drift",
        f"mean best score {_percent(found.float_confidence)} in float, {_percent(found.int8_confidence)} in int8",
    )
    yield (
        _percent(found.top5_agreement),
        "of the five best classes kept",
        f"scores differ by {found.mean_abs_score_difference:.4f} on average",
    )


def _tile(value: str, what: str, detail: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span><small>{escape(detail)}</small></div>'


def _held_out(found: HeldOut) -> Iterable[str]:
    worst = "".join(_photo(shown) for shown in found.worst)
    yield _section(
        "Float against int8",
        f"{found.note} Both models ran in {found.engine}. Beside the chart: the photos whose answer changed most, as "
        "the network sees them.",
        f'<div class="beside"><figure class="card">{confidence_chart(found)}</figure><div '
        f'class="photos">{worst}</div></div>',
    )


def _photo(shown: ShownPhoto) -> str:
    found = shown.outcome
    kind, mark = ("", "same answer") if found.agrees else (' class="changed"', "another answer")
    return (
        f'<figure{kind}><img src="{shown.thumbnail}" width="160" height="160" alt="{escape(found.name)}"><figcaption>'
        f"<span>float</span><i>{_percent(found.float_score)}</i><b>{escape(found.float_label)}</b>"
        f"<span>int8</span><i>{_percent(found.int8_score)}</i><b>{escape(found.int8_label)}</b>"
        f"<small>{mark} · {escape(found.name)}</small></figcaption></figure>"
    )


def _tensor_cards(tensors: Sequence[TensorReport]) -> str:
    chosen = sorted(tensors, key=lambda tensor: -tensor.noise_share)[:_DRAWN]
    return "".join(
        f'<figure class="card"><figcaption><b>{escape(tensor.name)}</b><small>{_percent(tensor.noise_share)} of the '
        "noise · "
        f"{_decibel(tensor.local_sqnr_db)} alone · {_range(tensor)} · {_clipped(tensor)}</small></figcaption>"
        f"{tensor_chart(tensor)}<small>{escape(outlier_text(tensor))}</small></figure>"
        for tensor in chosen
    )


def _changes(report: QuantizationReport) -> str:
    cards = (
        _card(
            "Equalisation",
            "Channels of bottlenecks rescaled to one width; 1 is even.",
            equalisation_chart(report.equalised),
        ),
        _card(
            "Bias correction",
            "The mean shift that rounding causes, taken out layer by layer.",
            bias_chart(report.tensors),
        ),
        _card("Lanes", "Blocks whose wide and narrow channels got scales of their own.", _lanes(report.lanes)),
    )
    return _section(
        "What was changed before rounding",
        "None of it changes what the float network computes, but for the bias corrections.",
        f'<div class="grid">{"".join(cards)}</div>',
    )


def _card(title: str, text: str, content: str) -> str:
    return f'<figure class="card"><figcaption><b>{escape(title)}</b><small>{escape(text)}</small></figcaption>{content or "<small>Nothing here.</small>"}</figure>'


def _lanes(lanes: Sequence[SplitBlock]) -> str:
    if not lanes:
        return ""
    rows = "".join(
        f"<tr><td>{escape(lane.block)}</td><td>{_sum(lane.widths)}</td><td>{_percent(lane.gain_share, 0)}</td></tr>"
        for lane in lanes
    )
    head = "<tr><th>block</th><th>channels of each lane</th><th>noise saved*</th></tr>"
    return f"<table>{head}{rows}</table><small>* as a share of the noise expected of int8 throughout</small>"


def _sum(widths: Sequence[int]) -> str:
    return " + ".join(str(width) for width in widths)


def _all_tensors(tensors: Sequence[TensorReport]) -> str:
    head = "".join(
        f"<th>{text}</th>"
        for text in (
            "tensor",
            "kind",
            "channels",
            "int8 range",
            "observed",
            "clipped",
            "widest",
            "alone",
            "so far",
            "noise",
            "bias",
        )
    )
    rows = "".join(
        f"<tr><td>{escape(tensor.name)}</td><td>{tensor.kind}</td><td>{tensor.channels}</td><td>{_range(tensor)}</td>"
        f"<td>{_from_to(tensor.observed_low, tensor.observed_high)}</td><td>{_percent(tensor.clipped, 3)}</td><td>{tensor.reach:.1f}×</td>"
        f"<td>{_decibel(tensor.local_sqnr_db)}</td><td>{_decibel(tensor.total_sqnr_db)}</td><td>{_percent(tensor.noise_share, 2)}</td>"
        f"<td>{'' if tensor.bias_shift is None else _percent(tensor.bias_shift, 2)}</td></tr>"
        for tensor in tensors
    )
    table = (
        f'<div class="card scroll"><table class="all"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return f"<section><details><summary>All {len(tensors)} tensors</summary>{table}</details></section>"


def _origin(subject: Subject) -> str:
    facts = {"made by": subject.created_by, "seed": subject.seed, **subject.recipe}
    if subject.float_tensors:
        facts["left in float32"] = ", ".join(subject.float_tensors)
    rows = "".join(
        f"<tr><td>{escape(str(key).replace('_', ' '))}</td><td>{escape(str(value))}</td></tr>"
        for key, value in facts.items()
    )
    return f'<section><details><summary>How it was made</summary><div class="card scroll"><table class="facts">{rows}</table></div></details></section>'


def _range(tensor: TensorReport) -> str:
    return "float32" if tensor.low is None or tensor.high is None else _from_to(tensor.low, tensor.high)


def _from_to(low: float, high: float) -> str:
    return f"{low:.3g} … {high:.3g}".replace("-", "−")


def _clipped(tensor: TensorReport) -> str:
    return f"{_percent(tensor.clipped, 2)} clipped" if tensor.clipped >= 5e-5 else "none clipped"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"
