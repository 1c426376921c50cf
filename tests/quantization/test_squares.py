"""Prepared photos are kept as they were, in memory and in the file."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_effnet.errors import OutputError
from edge_effnet.quantization.measure.squares import PreparedSquares


def squares(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (8, 6, 3), np.uint8) for _ in range(count)]


def kept(given: list[np.ndarray], memory_bytes: int) -> PreparedSquares:
    store = PreparedSquares(memory_bytes=memory_bytes)
    for square in given:
        store.append(square)
    return store


@pytest.mark.parametrize("memory_bytes", [0, 144, 3 * 144, 3 * 144 + 143, 10**6])
def test_what_is_appended_comes_back(memory_bytes: int) -> None:
    given = squares(9)
    store = kept(given, memory_bytes)
    assert len(store) == 9
    for index in (8, 0, 4, 3, -1, -9):
        np.testing.assert_array_equal(store[index], given[index])
    store.append(given[0])
    np.testing.assert_array_equal(store[9], given[0])
    for index in (10, -11):
        with pytest.raises(IndexError):
            store[index]


def test_views_are_copied_and_what_comes_back_is_read_only() -> None:
    given = squares(2)
    store = kept([square[:, :, ::-1] for square in given], 144)
    expected = [square[:, :, ::-1].copy() for square in given]
    for square in given:
        square[:] = 0
    for index in (0, 1):
        np.testing.assert_array_equal(store[index], expected[index])
        with pytest.raises(ValueError, match="read-only"):
            store[index][0] = 1


def test_several_threads_read() -> None:
    given = squares(40)
    store, wrong = kept(given, 0), []

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 40, 300):
            if not np.array_equal(store[int(index)], given[index]):
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_place_that_takes_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match=r"can't keep prepared photos in .*missing.*144 bytes.*TMPDIR"):
        kept(squares(2), 144)


def test_a_full_disk_is_told_and_what_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full.open("r+b", buffering=0))
    given = squares(2)
    store = kept(given[:1], 144)
    with pytest.raises(OutputError, match="No space left on device"):
        store.append(given[1])
    assert len(store) == 1
