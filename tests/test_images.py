from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_effnet.errors import UsageError
from edge_effnet.images import expand_sources, find_images, look_up


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_are_searched_by_ending(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPEG", "a.txt", "sub/c.tif", ".hidden.png", "d.png/inside.gif")
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == [
        "b.JPEG",
        "d.png/inside.gif",
        "sub/c.tif",
    ]


def test_names_folders_and_globs_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg", "f/b.png", "f/a.png", "g/1.jpg", "g/2.bmp", "g/deep/3.jpg")
    given = [
        tmp_path / "z.jpg",
        tmp_path / "f",
        tmp_path / "g" / "*.jpg",
        tmp_path / "g" / "**" / "*.jpg",
        tmp_path / "missing.jpg",
    ]
    names = [path.relative_to(tmp_path).as_posix() for path in expand_sources(map(str, given))]
    assert names == ["z.jpg", "f/a.png", "f/b.png", "g/1.jpg", "g/1.jpg", "g/deep/3.jpg", "missing.jpg"]


def test_a_file_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "photo[1].jpg", "photo1.jpg")
    assert [path.name for path in expand_sources([str(tmp_path / "photo[1].jpg")])] == ["photo[1].jpg"]


def test_folders_and_patterns_without_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"folder .* holds no images; expected files ending in \.bmp, "):
        list(expand_sources([str(touch(tmp_path / "e", "a.txt"))]))
    with pytest.raises(UsageError, match=r"pattern .* holds no images"):
        list(expand_sources([str(tmp_path / "*.jpg")]))


def test_a_pattern_does_not_follow_links_back_up(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for number in range(8):
        (deep / f"up{number}").symlink_to(tmp_path, target_is_directory=True)
    for path in (tmp_path / "1.jpg", deep / "2.jpg", deep / ".hidden.jpg"):
        path.touch()
    (tmp_path / ".h").mkdir()
    (tmp_path / ".h" / "3.jpg").touch()
    assert list(expand_sources([f"{tmp_path}/**/*.jpg"])) == [tmp_path / "1.jpg", deep / "2.jpg"]
    assert list(expand_sources([f"{tmp_path}/a/**/[0-9].jpg"])) == [deep / "2.jpg"]
    assert list(expand_sources([f"{tmp_path}/.h/*.jpg"])) == [tmp_path / ".h" / "3.jpg"]
    with pytest.raises(UsageError, match="holds no images"):
        look_up(f"{tmp_path}/**/*.jpg", depth="flat")


def test_a_tree_that_is_deeper_than_the_stack(tmp_path: Path) -> None:
    made = []
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        made.append(here)
        here = os.open("d", os.O_RDONLY, dir_fd=here)
    os.close(os.open("a.jpg", os.O_CREAT, dir_fd=here))
    try:
        assert len(find_images(tmp_path)) == 1
        assert len(list(expand_sources([f"{tmp_path}/**/*.jpg"]))) == 1
    finally:
        os.unlink("a.jpg", dir_fd=here)
        os.close(here)
        for folder in reversed(made):
            os.rmdir("d", dir_fd=folder)
            os.close(folder)
