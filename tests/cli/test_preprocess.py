"""`edge-effnet preprocess`: the picture and the array that the network is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photos import synthetic_photo

from edge_effnet import Preprocessing
from edge_effnet.cli import main


def test_what_the_network_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = synthetic_photo(1, 300, 260)
    photo.save(tmp_path / "photo.png")
    words = ["preprocess", str(tmp_path / "photo.png"), "-o", str(tmp_path / "seen.png")]
    assert main([*words, "--array", str(tmp_path / "seen.npy")]) == 0
    said = Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "seen.png")), said.pixels(photo))
    np.testing.assert_array_equal(np.load(tmp_path / "seen.npy"), said.normalise(said.pixels(photo)))
    assert "300×260, shorter to 295×256 (pillow bicubic), 224×224 from 36,16, rgb" in capsys.readouterr().out


def test_nothing_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", str(tmp_path / "photo.png")]) == 2
    assert "nothing to write; expected -o SEEN.png, --array OUT.npy or both" in capsys.readouterr().err
