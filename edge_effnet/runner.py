"""A model file that an engine has open: photos in, numbers out, one photo at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_effnet.decoding import ChannelOrder, Decoding, ImageRules, ImageSource, Photo, read_photo
from edge_effnet.engines import ENGINES, Session, open_session
from edge_effnet.errors import EngineError, ModelFileError, UsageError
from edge_effnet.formats import ModelFile, read_model_bytes, read_model_file
from edge_effnet.opening import (
    PROBES,
    Probe,
    check_digests,
    preprocessing_of,
    real_values,
    references_of,
    try_once,
)
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.system import file_identity
from edge_effnet.tensor import InputTensor
from edge_effnet.unknown import References, UnknownMode

#: A JPEG is decoded to no less than this many times the side it is resized to.
_SPARE = 2


@dataclass(frozen=True)
class Preparation:
    """How photos become the network's input. known: whether the file itself says so."""

    preprocessing: Preprocessing
    decoding: Decoding
    rules: ImageRules
    known: bool

    def read(self, image: ImageSource, channels: ChannelOrder, width: int | None) -> Photo:
        """The photo, decoded no larger than it is needed. Raises ImageError."""
        whole = self.decoding == "full" or not self.preprocessing.antialiased
        shortest = None if whole else _SPARE * min(self.preprocessing.resized)
        return read_photo(image, shortest=shortest, channels=channels, width=width, rules=self.rules)

    def pixels(self, photo: Photo) -> npt.NDArray[np.uint8]:
        """uint8[H, W, C], as the network sees it."""
        quick = self.decoding == "quick" or photo.image.size != photo.size
        return self.preprocessing.quick_pixels(photo) if quick else self.preprocessing.pixels(photo.image)


class PhotoRunner:
    """An opened file. identity: of the file, to tell whether it was replaced since. inner: tensors inside the network
    that the session gives after the output.

    timing: milliseconds that the last photo took, by part. Used from two threads at once, it raises EngineError.
    """

    def __init__(
        self,
        path: Path,
        session: Session,
        preparation: Preparation,
        *,
        identity: tuple[int, ...],
        threads: int,
        inner: tuple[str, ...] = (),
    ) -> None:
        self.inner, self.timing = inner, dict[str, float]()
        self._path, self._identity, self._threads = path, identity, threads
        self._session: Session | None = session
        self.preparation = preparation
        self._input = InputTensor(preparation.preprocessing, session, known=preparation.known)
        self._busy = threading.Lock()

    @property
    def session(self) -> Session:
        """The engine's. Raises EngineError once it is closed."""
        if self._session is None:
            raise EngineError("this Classifier is closed; open a new one")
        return self._session

    def run(
        self, image: ImageSource, *, channels: ChannelOrder, width: int | None
    ) -> tuple[npt.NDArray[np.float32], ...]:
        """The output and the inner tensors, of one run. Raises ImageError, and EngineError for a result that isn't
        finite.
        """
        with self._exclusive() as session:
            started = time.perf_counter()
            photo = self.preparation.read(image, channels, width)
            decoded = time.perf_counter()
            tensor = self._input.fill(self.preparation.pixels(photo))
            prepared = time.perf_counter()
            raw = session.run_all(tensor)
            inferred = time.perf_counter()
            found = tuple(real_values(values, info) for values, info in zip(raw, session.outputs, strict=True))
        if not np.isfinite(found[0]).all():
            raise EngineError(
                f"{self._path} gave NaN or infinite logits; the file is broken or its weights have diverged"
            )
        seconds = (decoded - started, prepared - decoded, inferred - prepared, time.perf_counter() - inferred)
        parts = ("decode", "preprocess", "inference", "postprocess")
        self.timing = dict(zip(parts, (1000 * value for value in seconds), strict=True))
        return found

    def contents(self) -> ModelFile:
        """The file read anew; raises ModelFileError where it is another one by now."""
        contents = read_model_file(self._path)
        if file_identity(self._path) != self._identity:
            raise ModelFileError(f"{self._path} has changed since it was opened; open it again")
        return contents

    def give(self, names: tuple[str, ...]) -> None:
        """Opens the file once more so that these inner tensors are given, too, after those that are given already."""
        missing = tuple(name for name in names if name not in self.inner)
        if not missing:
            return
        with self._exclusive() as old:
            self._session = self._new_session(self._threads, (*self.inner, *missing))
            self.inner = (*self.inner, *missing)
            self._input = InputTensor(self.preparation.preprocessing, self._session, known=self.preparation.known)
            old.close()

    def twin(self, threads: int) -> PhotoRunner:
        """The same once more, for another thread. Raises ModelFileError where the file is another one by now."""
        session = self._new_session(threads, self.inner)
        return PhotoRunner(
            self._path, session, self.preparation, identity=self._identity, threads=threads, inner=self.inner
        )

    def close(self) -> None:
        """Lets go of the engine; further calls raise EngineError."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _new_session(self, threads: int, inner: tuple[str, ...]) -> Session:
        engine = self.session.engine
        session = open_session(self._path, file_format=ENGINES[engine][0], engine=engine, threads=threads, inner=inner)
        if file_identity(self._path) != self._identity:
            session.close()
            raise ModelFileError(f"{self._path} has changed since it was opened; open it again")
        return session

    @contextmanager
    def _exclusive(self) -> Iterator[Session]:
        if not self._busy.acquire(blocking=False):
            raise EngineError("this Classifier is in use in another thread; give each thread a Classifier of its own")
        try:
            yield self.session
        finally:
            self._busy.release()


@dataclass(frozen=True, eq=False)
class Opened:
    """What opening a file gives: what runs it, its records, and what tells unknown photos, if it has that."""

    runner: PhotoRunner
    contents: ModelFile
    references: References | None


def open_runner(
    path: Path,
    *,
    engine: str,
    threads: int,
    preprocessing: Preprocessing | None,
    decoding: Decoding,
    rules: ImageRules,
    sha256: str | None,
    probe: Probe,
    unknown: UnknownMode,
    bundled: bool,
) -> Opened:
    """Reads the file once, checks it, tries it where that is due, and opens the engine on the bytes that were checked.

    Arguments as `Classifier` takes them. bundled: whether the file came with this package. Raises ModelFileError,
    EngineError, MissingDependencyError or UsageError.
    """
    if probe not in PROBES:
        raise UsageError(f"probe {probe!r} is unknown; expected {', '.join(PROBES)}")
    identity = file_identity(path)
    content = read_model_bytes(path)
    contents = read_model_file(content, name=str(path))
    check_digests(contents, content, path, sha256)
    prepared = preprocessing_of(contents, preprocessing, path)
    if bundled and contents.understood and probe == "auto":
        probe = "never"
    try_once(contents, content, path, probe=probe, engine=engine, threads=threads)
    references, inner = references_of(contents, unknown)
    session = open_session(
        path, file_format=contents.format, engine=engine, threads=threads, content=content, inner=inner
    )
    preparation = Preparation(prepared, decoding, rules, known=contents.document is not None)
    runner = PhotoRunner(path, session, preparation, identity=identity, threads=threads, inner=inner)
    return Opened(runner, contents, references)
