"""The runtime's one class: a model file, opened, that turns photos into predictions."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, get_args, overload

import numpy as np
import numpy.typing as npt

from edge_effnet.agreement import check_classes, check_threads
from edge_effnet.arguments import one_of, path_of, texts, whole_number
from edge_effnet.decoding import DEFAULT_RULES, ChannelOrder, Decoding, ImageRules, ImageSource
from edge_effnet.errors import UsageError
from edge_effnet.formats import ModelFile
from edge_effnet.heads import PLAIN_HEAD, among_decided, decisions_of, scores_of
from edge_effnet.labels import check_label_count, indices_left
from edge_effnet.many import predict_each
from edge_effnet.metadata import ModelDocument
from edge_effnet.model import OpenModel
from edge_effnet.opening import (
    Probe,
    answers_of,
    check_shapes,
    grouping_of,
)
from edge_effnet.prediction import Prediction, top_predictions
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.runner import open_runner
from edge_effnet.system import available_cores
from edge_effnet.unknown import UnknownMeasure, UnknownMode

if TYPE_CHECKING:
    from edge_effnet.grouping import Grouping

#: The model that is used when none is named: EfficientNet-Lite0, int8, ImageNet-1k (see NOTICE).
BUNDLED_MODEL = Path(__file__).with_name("models") / "lite0-int8.tflite"
#: More threads than this slow EfficientNet's small layers down.
_MOST_THREADS = 4


def default_threads() -> int:
    """As many threads as this process may use cores, at most 4."""
    return min(available_cores(), _MOST_THREADS)


class Classifier(OpenModel):
    """A model file opened for classification.

    model: path of a `.tflite` or `.onnx` file; None takes the bundled model. engine: "auto", "litert", "onnxruntime" or
    "numpy". threads: of the engine; None takes the cores there are, at most 4. labels: instead of the file's.
    preprocessing: instead of the file's, and needed for files of other makers. groups: name → labels whose scores are
    added up and given under that name. decoding: "scaled" decodes large JPEGs at 1/2, 1/4 or 1/8, to no less than twice
    the side they are resized to; "full" decodes them whole, as training did; "quick" is "scaled" and computes the crop
    alone, for frames that must keep up. Large JPEGs come out 0.2 of 255 levels apart on average (at most 4 in the
    photos measured), with "quick" others at most 1; without it they are the same as in training to the bit.
    image_rules: which formats and sizes of photos are decoded. sha256: what `sha256sum` prints for the model file;
    another file is refused. probe: whether the file is first run in a process of its own, which a file that crashes the
    engine takes along instead of this one (0.3 s): "auto" does so once for each file but the bundled one, since the
    SHA-256 that a file carries says nothing about its maker.

    A file's own SHA-256 of its weights is checked each time. One that carries none gives an UnverifiedModelWarning.

    A Classifier may be used from one thread at a time (a second one gets EngineError at once, not a wrong answer),
    because it uses its memory again for every photo; what it returns stays. Any number may live side by side. Inside a
    call, the engine spreads one photo's work over `threads`; `predict_many(…, workers=…)` works on many photos at once.
    It can be pickled: the other process opens the file anew.
    Raises ModelFileError, EngineError, MissingDependencyError or UsageError, each saying what to do.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        engine: str = "auto",
        threads: int | None = None,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        decoding: Decoding = "scaled",
        image_rules: ImageRules = DEFAULT_RULES,
        sha256: str | None = None,
        probe: Probe = "auto",
        groups: Mapping[str, Sequence[str]] | None = None,
        unknown: UnknownMode = "auto",
    ) -> None:
        said: dict[str, Any] = {"engine": engine, "threads": threads, "labels": labels, "preprocessing": preprocessing}
        said |= {"decoding": decoding, "image_rules": image_rules, "sha256": sha256, "probe": probe, "groups": groups}
        self._arguments = said | {"unknown": unknown}
        self.model_path = BUNDLED_MODEL if model is None else path_of(model, "model")
        told = None if threads is None else whole_number(threads, "threads", least=1)
        self.threads = default_threads() if told is None else check_threads(told)
        labels = None if labels is None else texts(labels, "labels")
        preprocessing = None if preprocessing is None else one_of(preprocessing, Preprocessing, "preprocessing")
        if decoding not in get_args(Decoding):
            raise UsageError(f"decoding is {decoding!r}; expected one of {', '.join(get_args(Decoding))}")
        self.decoding: Decoding = decoding
        self.image_rules = one_of(image_rules, ImageRules, "image_rules")
        opened = open_runner(
            self.model_path,
            engine=one_of(engine, str, "engine"),
            threads=self.threads,
            preprocessing=preprocessing,
            decoding=decoding,
            rules=self.image_rules,
            sha256=None if sha256 is None else one_of(sha256, str, "sha256"),
            probe=probe,
            unknown=unknown,
            bundled=self.model_path == BUNDLED_MODEL,
        )
        self._runner, contents = opened.runner, opened.contents
        self.metadata: ModelDocument | None = contents.document
        self.preprocessing = opened.runner.preparation.preprocessing
        self._settle(contents, labels, groups)
        self._answers = answers_of(self, opened.references, unknown)
        #: What a prediction may be: the labels and, where it is told and isn't one of them, unknown; and how many.
        self.answers, self.num_answers = self._answers.labels, self._answers.count

    def _settle(
        self, contents: ModelFile, labels: Sequence[str] | None, groups: Mapping[str, Sequence[str]] | None
    ) -> None:
        """What the outputs mean: head, classes, labels and groups. Raises what `__init__` does."""
        session = self._runner.session
        self.head = PLAIN_HEAD if contents.document is None else contents.document.head
        outputs = check_shapes(session, self.preprocessing, self.head, self.model_path)
        check_classes(self.metadata, outputs, str(self.model_path))
        chosen = labels if labels is not None else contents.labels
        source = "labels" if labels is not None else str(self.model_path)
        self.outputs = outputs
        self.num_classes = decisions_of(self.head, outputs, chosen)
        self.labels = None if chosen is None else check_label_count(chosen, self.num_classes, source=source)
        self.grouping: Grouping | None = grouping_of(groups, self.labels, self.num_classes)
        if self.grouping is not None:
            self.labels = self.grouping.labels
        #: What was measured of the last photo to tell whether it is unknown; None where that isn't told.
        self.unknown: UnknownMeasure | None = None

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.model_path, self._arguments)

    def close(self) -> None:
        """Lets go of the engine; further calls raise EngineError."""
        self._runner.close()

    def predict(
        self,
        image: ImageSource,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        channels: ChannelOrder = "rgb",
        width: int | None = None,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
    ) -> list[Prediction]:
        """The best classes, best first.

        image: a path, the bytes of an image file, an open file, a PIL image, or an array that `channels` describes:
        uint8[H, W, 3] "rgb" or "bgr", uint8[H, W, 4] "rgba" or "bgra", uint8[H, W] "grey", planar "yuv420"; `width` is
        the picture's where its rows are padded (see `edge_effnet.pixel_arrays`).
        top_k: at least 1. threshold: lowest score, 0..1; None means 0, but where several classes may hold at once the
        file's own thresholds, or 0.5. allow, deny: labels to choose from or to leave out.
        Raises ImageError for a photo that can't be read.
        """
        scores = self.answer_scores(image, channels=channels, width=width)
        start = time.perf_counter()
        among: Set[int] | None = self.class_indices(allow=allow, deny=deny)
        if threshold is None:
            among = among_decided(self.head, scores, among)
        found = top_predictions(scores, self.answers, top_k=top_k, threshold=threshold or 0.0, among=among)
        self._runner.timing["postprocess"] += _since(start)
        return found

    @overload
    def predict_many(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 5,
        threshold: float = 0.0,
        channels: ChannelOrder = "rgb",
        workers: None = None,
    ) -> list[list[Prediction]]: ...
    @overload
    def predict_many(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 5,
        threshold: float = 0.0,
        channels: ChannelOrder = "rgb",
        workers: int,
    ) -> Iterator[list[Prediction]]: ...
    def predict_many(
        self,
        images: Iterable[ImageSource],
        *,
        top_k: int = 5,
        threshold: float = 0.0,
        channels: ChannelOrder = "rgb",
        workers: int | None = None,
    ) -> list[list[Prediction]] | Iterator[list[Prediction]]:
        """`predict` for each image, in order: a list, or with `workers` an iterator that gives them as they come.

        images: with `workers` even without an end; at most 2 per worker are taken ahead, in the workers' threads.
        workers: photos worked on at a time, each by a twin with one engine thread; 1 works with this Classifier alone.
        It's in use until the iterator ends or is closed. Raises ImageError in the place of a photo that can't be read.
        """

        def predict(classifier: Classifier, image: ImageSource) -> list[Prediction]:
            return classifier.predict(image, top_k=top_k, threshold=threshold, channels=channels)

        one_of(images, Iterable, "images")  # type: ignore[type-abstract]
        if workers is not None:
            return predict_each(self, predict, images, workers=workers)
        return [predict(self, image) for image in images]

    def twin(self, *, threads: int) -> Classifier:
        """The same model once more, for another thread; to be closed by itself. What was checked isn't checked again.

        Raises ModelFileError where the file is another one by now.
        """
        runner = self._runner.twin(threads)
        twin = object.__new__(type(self))
        vars(twin).update(
            vars(self), threads=threads, _arguments=self._arguments | {"threads": threads}, _runner=runner
        )
        return twin

    def scores(
        self, image: ImageSource, *, channels: ChannelOrder = "rgb", width: int | None = None
    ) -> npt.NDArray[np.float32]:
        """float32[C], what the head makes of the output: a softmax, which sums to 1 (a group's sum stands at its first
        class), or a sigmoid of each class; one sigmoid with two labels gives both.

        Raises UsageError for a network that gives features.
        """
        logits = self.logits(image, channels=channels, width=width)
        start = time.perf_counter()
        scores = logits if self._gives_probabilities(logits) else scores_of(self.head, logits, self.num_classes)
        scores = scores if self.grouping is None else self.grouping.add_up(scores)
        self._runner.timing["postprocess"] += _since(start)
        return scores

    def answer_scores(
        self, image: ImageSource, *, channels: ChannelOrder = "rgb", width: int | None = None
    ) -> npt.NDArray[np.float32]:
        """float32[A], a score for each of `answers`: those of `scores`, and of unknown where that is told."""
        scores = self.scores(image, channels=channels, width=width)
        start = time.perf_counter()
        scores, self.unknown = self._answers.judge(scores, self.unknown)
        self._runner.timing["postprocess"] += _since(start)
        return scores

    def outputs_of(
        self, image: ImageSource, channels: ChannelOrder, width: int | None
    ) -> tuple[npt.NDArray[np.float32], ...]:
        """The output and the inner tensors that are given; what they say of unknown is kept."""
        found = super().outputs_of(image, channels, width)
        start = time.perf_counter()
        self.unknown = self._answers.measured(found[1].reshape(-1) if len(found) > 1 else None)
        self._runner.timing["postprocess"] += _since(start)
        return found

    def class_indices(
        self, *, allow: Iterable[str] | None = None, deny: Iterable[str] | None = None
    ) -> frozenset[int] | None:
        """The classes that allow and deny lists of labels leave; None when there are no lists. Raises UsageError."""
        allow = None if allow is None else texts(allow, "allow")
        deny = None if deny is None else texts(deny, "deny")
        every = None if self.grouping is None else self.grouping.among | set(range(self.num_classes, self.num_answers))
        if allow is None and deny is None:
            return every
        labels = self.answers or [str(index) for index in range(self.num_answers)]
        left = indices_left(labels, allow=allow, deny=deny)
        return left if every is None else left & every

    def _gives_probabilities(self, values: npt.NDArray[np.float32]) -> bool:
        """Files of other makers often end in a softmax of their own."""
        return self.metadata is None and values.min() >= 0 and math.isclose(float(values.sum()), 1.0, abs_tol=0.02)


def _reopen(path: Path, arguments: dict[str, Any]) -> Classifier:
    return Classifier(path, **arguments)


def _since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)
