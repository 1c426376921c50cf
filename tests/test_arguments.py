from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_effnet import Classifier, EdgeEffnetError, Preprocessing
from edge_effnet.arguments import fraction, one_of, path_of, texts, whole_number
from edge_effnet.decoding import ImageRules, decode
from edge_effnet.errors import ImageError, UsageError
from edge_effnet.label_files import read_labels
from edge_effnet.labels import find_label_indices
from edge_effnet.live import DecisionRule, LiveClassifier, Region, Replay, SourceOpener, source_opener
from edge_effnet.live.newest import FrameReader
from edge_effnet.live.web import Access, WebAddress
from edge_effnet.parallel import map_in_order

_FRAME = np.zeros((8, 8, 3), np.uint8)


class Untellable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("value", [2.5, "1", None, True, [1], 0, -1, float("nan"), Untellable()])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(UsageError, match=r"expected (a whole number|at least 1)"):
        whole_number(value, "top_k", least=1)


def test_what_is_one() -> None:
    assert [whole_number(value, "x", least=1) for value in (1, np.int64(3), np.uint8(2))] == [1, 3, 2]
    assert [fraction(value, "x") for value in (0, 1, np.float32(0.5))] == [0.0, 1.0, 0.5]
    assert texts(["a", "b"], "x") == texts((text for text in "ab"), "x") == ("a", "b")
    assert path_of("a", "x") == path_of(Path("a"), "x") == Path("a")
    assert one_of("a", str, "x") == "a"


@pytest.mark.parametrize("value", ["0.5", None, 1.1, float("nan"), 1j, True])
def test_what_is_no_fraction(value: Any) -> None:
    with pytest.raises(UsageError, match=r"threshold is .*; expected 0 to 1"):
        fraction(value, "threshold")


@pytest.mark.parametrize("value", ["dog", b"dog", 5, [1], ["a", None]])
def test_what_is_no_list_of_texts(value: Any) -> None:
    with pytest.raises(UsageError, match=r"allow (is|holds) .*; expected"):
        texts(value, "allow")


@pytest.mark.litert
@pytest.mark.parametrize(
    "arguments",
    [
        {"top_k": 2.5},
        {"top_k": "5"},
        {"threshold": "0.5"},
        {"allow": [1]},
        {"allow": "dog"},
        {"deny": 7},
        {"channels": "xyz"},
        {"channels": 3},
        {"channels": ["rgb"]},
    ],
)
def test_predict_says_what_it_expects(bundled: Classifier, arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        bundled.predict(_FRAME, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"threads": "1"},
        {"threads": 1.5},
        {"threads": True},
        {"labels": "abc"},
        {"labels": [1, 2]},
        {"preprocessing": {"resize": 256}},
        {"image_rules": "none"},
        {"sha256": 5},
        {"probe": ["auto"]},
        {"decoding": None},
        {"engine": ["litert"]},
        {"engine": 5},
        {"model": 5},
        {"model": b"x"},
        {"groups": "abc"},
        {"groups": ["abc"]},
        {"groups": {"a": "dog"}},
        {"groups": {1: ["dog"]}},
    ],
)
def test_opening_says_what_it_expects(arguments: dict[str, Any]) -> None:
    with pytest.raises(EdgeEffnetError):
        Classifier(**arguments)


class Path2(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"x"


class Pretender:
    """Looks like a PIL image from afar."""

    size = width = height = mode = None

    def getexif(self) -> dict[int, int]:
        return {}


def closed() -> Image.Image:
    image = Image.new("RGB", (2, 2))
    image.close()
    return image


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.mark.parametrize(
    "source",
    [
        memoryview(b"abcdefgh")[::2],
        memoryview(bytearray(16)).cast("B", (4, 4)),
        memoryview(np.zeros((4, 4), np.float32)[:, ::2]),
        released(),
        Path2(),
        Pretender(),
        closed(),
        5,
        None,
        ["a.jpg"],
        np.zeros((4, 4, 3), object),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), [("a", np.uint8)]),
        np.uint8(3),
        "\0",
        "x" * 5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_photos_are_image_errors(source: Any) -> None:
    with pytest.raises(ImageError):
        decode(source)


def test_a_photo_in_a_view_with_gaps() -> None:
    import io

    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    wide = bytearray(2 * len(file.getvalue()))
    wide[::2] = file.getvalue()
    assert decode(memoryview(wide)[::2]).size == (3, 2)


def test_labels_of_5000_digits() -> None:
    with pytest.raises(UsageError, match="is not among the model's 2"):
        find_label_indices(["1" * 5000], ["a", "b"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Preprocessing(resize="256", crop=224),
        lambda: Preprocessing(resize=256.5, crop=224),
        lambda: Preprocessing(resize=(1, 2, 3), crop=224),
        lambda: Preprocessing(resize=256, crop=224, mean="abc"),
        lambda: Preprocessing(resize=256, crop=224, std=None),
        lambda: ImageRules(max_pixels="5"),
        lambda: ImageRules(formats="JPEG"),
        lambda: ImageRules(formats=5),
        lambda: Region("a", 0, 1, 1),
        lambda: DecisionRule("a"),
        lambda: DecisionRule(agree=2.5),
        lambda: Replay("x"),
        lambda: LiveClassifier("x", []),
        lambda: FrameReader(SourceOpener("x", list), every=1.5),
        lambda: source_opener(5),
        lambda: read_labels(5),
        lambda: Access(5),
        lambda: WebAddress.parse(5),
        lambda: map_in_order(str, [], workers="2"),
    ],
)
def test_records_and_openers_say_what_they_expect(make: Any) -> None:
    with pytest.raises(UsageError, match="expected"):
        make()


@pytest.mark.litert
def test_predict_many_says_what_it_expects(bundled: Classifier) -> None:
    for call in (
        lambda: bundled.predict_many(5),
        lambda: list(bundled.predict_many([_FRAME], workers="2")),
        lambda: bundled.predict(np.zeros((12, 8), np.uint8), channels="yuv420", width="x"),
    ):
        with pytest.raises(UsageError, match="expected"):
            call()
