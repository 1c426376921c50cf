"""Files of labels as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_effnet.errors import UsageError
from edge_effnet.label_files import read_labels


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nb\n", ("a", "b")),
        (b"a\r\nb", ("a", "b")),
        (b"\xef\xbb\xbfK\xc3\xb6ln\nb\n\n\n", ("Köln", "b")),
        (b"  a, with comma \nb\t\n", ("a, with comma", "b")),
        (b"2 cat\n0 dog\n1  big fish", ("dog", "big fish", "cat")),
        (b"3: cat\n1: dog\n2:fish", ("dog", "fish", "cat")),
        (b"1,cat\n0,dog", ("dog", "cat")),
        (b"1. cat\n2) dog", ("cat", "dog")),
        (b"0.5 mm\n1.5 mm", ("0.5 mm", "1.5 mm")),
        (b"4 wheels\n2 wheels", ("4 wheels", "2 wheels")),
        (b"0 cat\ndog", ("0 cat", "dog")),
    ],
)
def test_reading(tmp_path: Path, content: bytes, expected: tuple[str, ...]) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_labels(tmp_path / "labels.txt") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty; expected one label a line"),
        (b"\n \n", "it is empty"),
        (b"a\n\nb\n", "line 2 is blank"),
        (b"0 cat\n1 dog\n1 fish", "the index 1 stands twice; expected each index from 0 or 1 on once before its label"),
        (b"\xff\xfe\xfa", "can't read labels from .*codec"),
    ],
)
def test_unreadable(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_labels(tmp_path / "labels.txt")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UsageError, match="can't read labels from"):
            read_labels(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('["cat", "dog"]', ("cat", "dog")),
        ('{"1": "dog", "0": "cat"}', ("cat", "dog")),
        ('{"cat": 0, "dog": 1}', ("cat", "dog")),
        ('{"class_to_idx": {"0": 0, "1": 1, "10": 2, "2": 3}}', ("0", "1", "10", "2")),
        ('{"model": "b0", "id2label": {"0": "cat", "1": "dog"}}', ("cat", "dog")),
        ('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', ("tench", "goldfish")),
        ('[{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]', ("cat", "dog")),
        ("[cat\n[dog", ("[cat", "[dog")),
        ('"cat, domestic"\n"dog"\n', ("cat, domestic", "dog")),
        ('index,label\n1,"dog"\n0,"cat, ""tabby"""\n', ('cat, "tabby"', "dog")),
        ("class_name,class_id\ndog,1\ncat,0\n", ("cat", "dog")),
        ("0=cat\n1=dog", ("cat", "dog")),
        ("0;cat\n1;dog", ("cat", "dog")),
        ("id,name", ("id,name",)),
        ("names: of plants\nitem", ("names: of plants", "item")),
    ],
)
def test_other_forms(tmp_path: Path, content: str, expected: tuple[str, ...]) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "labels").write_bytes(content.encode(encoding))
        assert read_labels(tmp_path / "labels") == expected


@pytest.mark.parametrize("content", ['{"0": "cat", "3": "dog"}', "[1, 2]", "[]", '{"a": {"b": 1}}', '[["a"]]'])
def test_json_without_labels(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UsageError, match="JSON without labels in class order; expected a list of names, or an object"):
        read_labels(tmp_path / "labels.json")


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("data.yaml", "path: data\nnames:\n  0: cat\n  1: dog\n", "YAML"),
        ("labels.txt", "names: [cat, dog]\n", "YAML"),
        ("labels.txt", "# classes\n---\n- cat\n- dog\n", "YAML"),
        ("label_map.pbtxt", "# made by hand\nitem {\n  id: 1\n  name: 'cat'\n}\n", "protobuf text"),
        ("labels.txt", "item{ id: 1 name: 'cat' }\n", "protobuf text"),
    ],
)
def test_forms_whose_lines_are_no_labels(tmp_path: Path, name: str, content: str, form: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=rf"{form}, which isn't read; expected one label a line, CSV or JSON"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_labels_that_never_end(path: str) -> None:
    with pytest.raises(UsageError, match=r"can't read labels from .*: (not a regular file|a folder)"):
        read_labels(path)


def test_labels_that_are_too_many(tmp_path: Path) -> None:
    with open(tmp_path / "labels.txt", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"1,099,511,627,776 bytes; at most 16,777,216 are read"):
        read_labels(tmp_path / "labels.txt")
