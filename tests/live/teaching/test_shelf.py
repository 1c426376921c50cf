from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from edge_effnet.class_folders import LABEL_FILE, class_name
from edge_effnet.errors import OutputError, UsageError
from edge_effnet.live.keeping import facts_of, pictures_in, save_picture
from edge_effnet.live.teaching import shelf as shelf_module
from edge_effnet.live.teaching.names import MOST_CLASSES, check_name
from edge_effnet.live.teaching.networks import Networks
from edge_effnet.live.teaching.shelf import Shelf


def shelf(folder: Path, count: int = 0) -> Shelf:
    made = Shelf(folder, inbox=folder / "inbox")
    for number in range(count):
        save_picture(
            folder / "inbox", f"JPEG {number}".encode(), {"why": "tie", "n": number}, timestamp=1000.0 + number
        )
    return made


def ids(made: Shelf) -> list[str]:
    return [path.stem for path in made.waiting()]


def all_photos(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.jpg"))


def test_from_the_inbox_to_a_class_and_back(tmp_path: Path) -> None:
    made = shelf(tmp_path, 3)
    cup = made.add_class(" Grandma's   cup / ☕ ")
    assert (cup.name, cup.photos) == ("Grandma's cup / ☕", ())
    assert cup.folder == tmp_path / "photos" / "c01-grandma-s-cup"
    assert class_name(cup.folder) == cup.name
    first, second, third = ids(made)
    assert made.assign([first, third, "gone"], cup.id) == 2
    assert [facts_of(path)["n"] for path in made.class_of(cup.id).photos] == [0, 2]
    assert ids(made) == [second]
    assert made.last_step == "2 pictures to Grandma's cup / ☕"
    assert made.dismiss([second]) == 1
    assert (ids(made), len(all_photos(tmp_path))) == ([], 3)
    assert made.undo() == "1 picture dismissed"
    assert ids(made) == [second]
    made.undo()
    assert ids(made) == [first, second, third]
    assert [facts_of(path)["n"] for path in pictures_in(made.inbox)] == [0, 1, 2], "documents come back, too"
    made.undo()
    assert made.classes() == []
    assert list((tmp_path / "photos").iterdir()) == []
    with pytest.raises(UsageError, match="nothing to undo"):
        made.undo()


def test_bursts_are_undone_together(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    cup = made.add_class("cup")
    for burst, count in (("a", 3), ("b", 2)):
        for number in range(count):
            found = made.collect(b"JPEG", {}, cup.id, timestamp=float(number), burst=burst)
    assert len(found.photos) == 5
    assert made.last_step == "2 pictures collected for cup"
    made.undo()
    assert len(made.class_of(cup.id).photos) == 3
    made.undo()
    assert made.last_step == "new class cup"
    assert len(pictures_in(tmp_path / "dismissed")) == 5, "nothing is lost"


def test_a_class_that_has_photos_outlives_its_undo(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    cup = made.add_class("cup")
    (cup.folder / "own.jpg").write_bytes(b"JPEG")
    made.undo()
    assert [one.name for one in made.classes()] == ["cup"]


def test_folders_of_ones_own_are_classes_too(tmp_path: Path) -> None:
    (tmp_path / "photos" / "my dog").mkdir(parents=True)
    (tmp_path / "photos" / "my dog" / "a.jpg").write_bytes(b"JPEG")
    made = shelf(tmp_path, 1)
    (dog,) = made.classes()
    assert (dog.name, len(dog.photos)) == ("my dog", 1)
    made.assign(ids(made), dog.id)
    assert len(made.class_of(dog.id).photos) == 2
    with pytest.raises(UsageError, match="there is a class my dog already"):
        made.add_class("MY DOG")
    (dog.folder / LABEL_FILE).write_bytes(b"\xff")
    assert made.classes()[0].name == "my dog"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "has 0 characters"),
        ("  \n ", "has 0 characters"),
        ("x" * 61, "has 61 characters"),
        ("a\x00b", "can't be seen"),
        ("a‮b", "can't be seen"),
        (7, "has no name"),
        (None, "has no name"),
        ("CUP", "there is a class cup already"),
        ("Unknown", "there is a class none already"),
    ],
)
def test_names_that_can_not_be_kept(name: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_name(name, ["cup", "none"])


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/", "..", ".", "con", "a\\b", "Größe", "日本語", "%2e%2e", "a'b\"c"]
)
def test_a_name_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    made = shelf(tmp_path)
    found = made.add_class(name)
    assert found.name == name
    assert found.folder.parent == tmp_path / "photos"
    assert found.folder.name.startswith("c01")
    assert found.folder.name.isascii()


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shelf(tmp_path, 3)
    cup = made.add_class("cup")
    monkeypatch.setattr(shelf_module, "MOST_A_CLASS", 2)
    with pytest.raises(UsageError, match="cup has 0 photos; at most 2"):
        made.assign(ids(made), cup.id)
    monkeypatch.setattr(shelf_module, "_MOST_DISMISSED", 2)
    made.dismiss(ids(made))
    assert len(pictures_in(tmp_path / "dismissed")) == 2
    for number in range(MOST_CLASSES - 1):
        made.add_class(str(number))
    with pytest.raises(UsageError, match="at most 100 fit"):
        made.add_class("one more")
    with pytest.raises(UsageError, match="no such class"):
        made.class_of("../photos")
    for name in ("../inbox/x", "x", "", None):
        with pytest.raises(UsageError, match="isn't in the inbox"):
            made.waiting_picture(name)


def test_another_file_system_gets_a_copy_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shelf(tmp_path, 2)
    cup = made.add_class("cup")

    real, number = os.rename, [errno.EXDEV]

    def rename(source: Any, target: Any, **options: Any) -> None:
        if str(source).endswith(".jpg"):
            raise OSError(number[0], "no")
        real(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    made.assign(ids(made), cup.id)
    assert [facts_of(path)["n"] for path in made.class_of(cup.id).photos] == [0, 1]
    assert list(made.inbox.iterdir()) == []

    number[0] = errno.EACCES
    with pytest.raises(OutputError, match="can't move"):
        shelf_module.move_picture(made.class_of(cup.id).photos[0], made.inbox)
    assert len(made.class_of(cup.id).photos) == 2


_WORKER = """
    import itertools, random, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from edge_effnet.live.teaching.shelf import Shelf
    folder = Path(sys.argv[1])
    shelf = Shelf(folder, inbox=folder / "inbox")
    draw = random.Random(int(sys.argv[3]))
    classes = [one.id for one in shelf.classes()] or [shelf.add_class(name).id for name in ("a", "b")]
    print("ready", flush=True)
    while True:
        waiting = [path.stem for path in shelf.waiting()]
        chosen = draw.sample(waiting, min(len(waiting), 3))
        if chosen and draw.random() < 0.7:
            shelf.assign(chosen, draw.choice(classes))
        elif chosen:
            shelf.dismiss(chosen)
        while shelf.last_step and not shelf.last_step.startswith("new") and draw.random() < 0.6:
            shelf.undo()
        if not waiting:
            while shelf.last_step and not shelf.last_step.startswith("new"):
                shelf.undo()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_killed_at_any_time_no_photo_is_lost(tmp_path: Path) -> None:
    """Naming, throwing away and undoing without end: each photo stays in one place, its document beside it."""
    shelf(tmp_path, 30)
    photos = all_photos(tmp_path)
    for attempt in range(2):
        words = [sys.executable, "-c", textwrap.dedent(_WORKER), tmp_path, ".", str(attempt)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1 + 0.1 * attempt)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert all_photos(tmp_path) == photos
        for path in tmp_path.rglob("*.jpg"):
            assert facts_of(path)["why"] == "tie"
    made = shelf(tmp_path)
    assert sorted(path.stem for path in tmp_path.rglob("*.jpg")) == sorted(
        path.stem for path in tmp_path.rglob("*.json")
    ), "what the kills left besides is gone"
    assert [one.name for one in made.classes()] == ["a", "b"]


def test_networks_and_which_is_in_use(tmp_path: Path) -> None:
    networks = Networks(tmp_path / "networks")
    assert (networks.names(), networks.in_use(), networks.next_path(".tflite").name) == (
        [],
        None,
        "learned-0001.tflite",
    )
    networks.use(None)
    for number in range(1, 9):
        path = networks.next_path(".tflite")
        path.write_bytes(b"")
        networks.record(path, {"number": number})
        if number == 1:
            networks.use(path.name)
    assert networks.names() == ["learned-0001.tflite", *(f"learned-000{number}.tflite" for number in range(4, 9))]
    assert networks.in_use() == "learned-0001.tflite"
    assert networks.facts("learned-0008.tflite") == {"number": 8}
    other = networks.next_path(".onnx")  # from a base of the other format
    other.write_bytes(b"")
    networks.use(other.name)
    assert (other.name, networks.names()[-1], networks.in_use()) == ("learned-0009.onnx",) * 3
    for name in ("../x", "learned-0002.tflite", None, "in-use.json"):
        with pytest.raises(UsageError, match="no such network"):
            networks.path(name)
    for broken in (b"{", b"[]", b'{"file": "../../x"}', b'{"file": 7}'):
        (tmp_path / "networks" / "in-use.json").write_bytes(broken)
        assert networks.in_use() is None
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't use the folder"):
        Networks(tmp_path / "file")
    assert os.listdir(tmp_path / "networks")
