from __future__ import annotations

from pathlib import Path

import pytest

from edge_effnet.datasets import read_dataset, unlabelled_images
from edge_effnet.errors import UsageError
from edge_effnet.images import look_up

LABELS = ("cat", "dog", "cat")


def lay_out(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def found(folder: Path, classes: int = 3, labels: tuple[str, ...] | None = LABELS) -> dict[str, set[int]]:
    return {
        item.path.relative_to(folder).as_posix(): set(item.classes)
        for item in read_dataset(folder, num_classes=classes, labels=labels)
    }


def test_no_name_is_not_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, "cat/a.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the data's folder is ''; expected a path"):
        read_dataset("", num_classes=3, labels=LABELS)
    with pytest.raises(UsageError, match="a source is ''; expected a path"):
        look_up("")


def test_a_photo_counts_once_however_its_path_is_written(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\nb/a.jpg,dog\n./b/a.jpg,cat\nb//c/../a.jpg,dog\nb/d.jpg,dog\n")
    assert found(tmp_path) == {"b/a.jpg": {0, 1, 2}, "b/d.jpg": {1}}


def test_folders_named_by_label_or_index(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        "Dog/b.JPG",
        "Dog/deep/a.png",
        "cat/a.webp",
        "cat/notes.txt",
        "cat/.hidden.jpg",
        ".git/x.jpg",
        "loose.jpg",
    )
    assert found(tmp_path) == {"Dog/b.JPG": {1}, "Dog/deep/a.png": {1}, "cat/a.webp": {0, 2}}
    lay_out(tmp_path, "2/c.jpg")
    assert found(tmp_path)["2/c.jpg"] == {2}


def test_folders_by_position_without_labels(tmp_path: Path) -> None:
    lay_out(tmp_path, "b/1.jpg", "a/2.jpg", "c/3.jpg")
    assert found(tmp_path, labels=None) == {"a/2.jpg": {0}, "b/1.jpg": {1}, "c/3.jpg": {2}}
    with pytest.raises(
        UsageError, match="has 3 class folders, the model 4 classes and no labels; give them with --labels"
    ):
        found(tmp_path, classes=4, labels=None)


def test_an_unknown_class_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label 'doge' is not among the model's 3; did you mean 'dog'"):
        found(lay_out(tmp_path, "doge/a.jpg"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,index\nb.jpg,1\na.jpg,0\n", {"a.jpg": {0}, "b.jpg": {1}}),
        ("file,label\nb.jpg,DOG\na.jpg,cat\n", {"a.jpg": {0, 2}, "b.jpg": {1}}),
        ('\ufefffile,label,index\nb.jpg,"whatever, x", 2 \n', {"b.jpg": {2}}),
        ("index,who,file\n1,me,sub/b.jpg\n", {"sub/b.jpg": {1}}),
    ],
)
def test_an_index_file_counts(tmp_path: Path, text: str, expected: dict[str, set[int]]) -> None:
    lay_out(tmp_path, "dog/ignored.jpg")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert found(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,index\na,1\n", "has the columns name, index; expected file,index or file,label"),
        ("", "has the columns none; expected"),
        ("file,index\na.jpg,3\n", r"labels\.csv line 2: index '3'; expected 0 to 2"),
        ("file,index\na.jpg,1\nb.jpg,-1\n", r"line 3: index '-1'; expected 0 to 2"),
        ("file,index\na.jpg,x\n", "index 'x'"),
        ("file,label\na.jpg,mouse\n", "line 2: label 'mouse' is not among"),
        ("file,index\n", "holds no photos in class folders and no labels\\.csv"),
    ],
)
def test_what_does_not_fit_in_an_index(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        found(tmp_path)


def test_labels_in_the_index_but_not_in_the_model(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,cat\n")
    with pytest.raises(UsageError, match="has a label, but the model has none; give them with --labels"):
        found(tmp_path, labels=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,index\na.jpg\n", r"labels\.csv line 2: has neither index nor label"),
        (b'file,index\n"a.jpg,1\n', r"labels\.csv line 2: has neither index nor label"),
        (b"file,index\n,1\n", r"labels\.csv line 2: names no file"),
        (b"index,file\n1\n", r"labels\.csv line 2: names no file"),
        (b"file,index\n\xff\xfe,1\n", r"can't read .*labels\.csv: .*expected UTF-8 text with the columns file,index"),
        (b"file,index\n" + b"x" * 200_000 + b",1\n", r"can't read .*labels\.csv: field larger"),
        ("file,index\na.jpg,²\n".encode(), "index '²'; expected 0 to 2"),
    ],
)
def test_a_damaged_index(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        found(tmp_path)


def test_several_classes_of_a_photo(tmp_path: Path) -> None:
    rows = "a.jpg,red\na.jpg,blue\nb.jpg,green|red\nc.jpg,one|two\nd.jpg,\n"
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    labels = ("red", "green", "blue", "one|two")
    items = read_dataset(tmp_path, num_classes=4, labels=labels, without="taken")
    assert {item.path.name: set(item.classes) for item in items} == {
        "a.jpg": {0, 2},
        "b.jpg": {0, 1},
        "c.jpg": {3},
        "d.jpg": set(),
    }
    with pytest.raises(UsageError, match="line 6: has neither index nor label"):
        found(tmp_path, classes=4, labels=labels)
    (tmp_path / "labels.csv").write_text("file,index\na.jpg,0|2\nb.jpg,1|4\n")
    with pytest.raises(UsageError, match="line 3: index '4'; expected 0 to 3"):
        found(tmp_path, classes=4)


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,index\n\n\na.jpg,9\n")
    with pytest.raises(UsageError, match="line 4: index '9'"):
        found(tmp_path)


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no folder; expected class folders, or a folder with labels\.csv"):
        found(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no photos in class folders"):
        found(tmp_path)
    with pytest.raises(UsageError, match="holds no photos in class folders"):
        found(lay_out(tmp_path, "cat/readme.txt"))


def test_unlabelled_photos(tmp_path: Path) -> None:
    lay_out(tmp_path, "b.jpg", "a/c.png", "a/d.txt")
    assert [path.name for path in unlabelled_images(tmp_path)] == ["c.png", "b.jpg"]
    for folder in (tmp_path / "none", lay_out(tmp_path / "e", "x.txt")):
        with pytest.raises(UsageError, match="is no folder with photos"):
            unlabelled_images(folder)
