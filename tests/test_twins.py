from __future__ import annotations

from pathlib import Path

from edge_effnet.datasets import LabelledImage
from edge_effnet.twins import remark_on_twins, twins_in_two_classes


def items(folder: Path, **contents: tuple[bytes, int]) -> list[LabelledImage]:
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return [LabelledImage(folder / name, frozenset({label})) for name, (_, label) in contents.items()]


def test_the_same_bytes_in_two_classes(tmp_path: Path) -> None:
    one, two, three, other, same = items(
        tmp_path, one=(b"cat", 0), two=(b"dog", 0), three=(b"cat", 1), other=(b"fish", 1), same=(b"dog", 0)
    )
    gone = LabelledImage(tmp_path / "gone", frozenset({1}))
    assert twins_in_two_classes([one, two, three, other, same, gone]) == ((one, three),)
    remark = remark_on_twins([one, two, three])
    assert remark is not None
    assert remark.startswith(f"in two classes, of which one must be wrong: {one.path} = {three.path}")
    assert remark_on_twins([one, two, other, same, gone]) is None


def test_what_is_of_several_classes_may_be_there_twice(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"both")
    both = LabelledImage(tmp_path / "a", frozenset({0, 1}))
    assert remark_on_twins([both, both]) is None
