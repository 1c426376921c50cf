"""Fixtures that several folders share; what is expensive is made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.classes import class_folder
from support.golden import State, make_state
from support.photos import synthetic_photo

from edge_effnet import Classifier

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "examples" / "photos"
LABELS = ("cat", "dog", "Köln")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What has passed a trial run is remembered for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small PNGs."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(6):
        synthetic_photo(seed).save(folder / f"photo{seed}.png")
    return folder


@pytest.fixture(scope="session")
def lite0_state() -> State:
    """Lite0 with 3 classes, in timm's names."""
    return make_state("timm-tf", "lite0", classes=len(LABELS))


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, lite0_state: State, photo_folder: Path
) -> dict[tuple[str, str], Path]:
    """(precision, ending) → a Lite0 file at 64 px with 3 labelled classes. Tests must copy before they change one."""
    from edge_effnet.exporters import export

    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for precision in ("fp32", "int8"):
        for ending in ("tflite", "onnx"):
            path = folder / f"lite0-{precision}.{ending}"
            export(
                lite0_state,
                path,
                precision=precision,
                source="timm-tf",
                image_size=64,
                labels=LABELS,
                calibration=photo_folder,
                refine=0.0,
            )  # type: ignore[arg-type]
            made[precision, ending] = path
    return made


@pytest.fixture(scope="session")
def class_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos of each of three colours, in class folders. Tests must copy before they change one."""
    return class_folder(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="session")
def taught(class_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was learned from them with the bundled file; tells unknown. Tests must copy before they change it."""
    from edge_effnet.learning import learn

    return learn(class_photos, tmp_path_factory.mktemp("taught") / "mine.tflite", threads=1)


@pytest.fixture(scope="session")
def bundled() -> Iterator[Classifier]:
    """The model that comes with the package, on one thread."""
    with Classifier(threads=1) as classifier:
        yield classifier


@pytest.fixture(scope="session", autouse=True)
def _no_minutes_of_refinement() -> Iterator[None]:
    """Refinement takes five minutes unless it's told otherwise: a test that forgets `refine=0.0` fails at once."""
    from edge_effnet.quantization import refine as package

    learn = package.refine

    def brief(*arguments: Any, minutes: float, **options: Any) -> Any:
        assert minutes <= 0.1, "say refine=0.0 (or --quick), or a few seconds, where a test exports int8"
        return learn(*arguments, minutes=minutes, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "refine", brief)
        yield
