"""Many photos on all cores: classifiers of the same file, one for each that is worked on at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from edge_effnet.arguments import integer
from edge_effnet.parallel import check_workers, map_in_order
from edge_effnet.system import available_cores

if TYPE_CHECKING:
    from edge_effnet.classifier import Classifier

Item = TypeVar("Item")
Result = TypeVar("Result")
Classifiers: TypeAlias = "tuple[Classifier, ...]"


def split_cores(workers: int | None, threads: int | None, *, photos: int | None = None) -> tuple[int, int | None]:
    """(workers, threads of each one's engine) for so many photos (None: many), chosen where it's None so that all cores
    have work.

    One engine thread a worker gives the most photos a second. Threads stay None, the engine's default, for one worker.
    Raises UsageError for more workers than can be meant.
    """
    if workers is not None:
        check_workers(workers)
    workers = workers or max(1, available_cores() // (threads or 1))
    workers = workers if photos is None else max(1, min(workers, photos))
    return workers, threads or (None if workers == 1 else 1)


@contextmanager
def spread(
    classifiers: Classifiers, function: Callable[[Classifiers, Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Iterator[Result]]:
    """Gives `function` of each item in order (see `parallel.map_in_order`), called on up to `workers` items at a time.

    classifiers: what function is given, or twins of them with one engine thread each. They are in use until the end of
    the context, which waits for what is being worked on and closes the twins.
    """
    workers = integer(workers, "workers")
    crew = _Twins(classifiers, with_originals=workers == 1 or all(one.threads == 1 for one in classifiers))
    with closing(crew), closing(map_in_order(lambda item: crew.call(function, item), items, workers=workers)) as found:
        yield found


class _Twins:
    """Classifiers that are free, and those that were opened to be closed again."""

    def __init__(self, originals: Classifiers, *, with_originals: bool) -> None:
        self._originals = originals
        self._free: list[Classifiers] = [originals] if with_originals else []
        self._opened: list[Classifier] = []

    def call(self, function: Callable[[Classifiers, Item], Result], item: Item) -> Result:
        """`function` of classifiers that nobody else has meanwhile, and the item."""
        try:
            taken = self._free.pop()
        except IndexError:
            taken = tuple(map(self._twin, self._originals))
        try:
            return function(taken, item)
        finally:
            self._free.append(taken)

    def close(self) -> None:
        """Closes the twins."""
        for twin in self._opened:
            twin.close()

    def _twin(self, original: Classifier) -> Classifier:
        twin = original.twin(threads=1)
        self._opened.append(twin)
        return twin


def predict_each(
    classifier: Classifier, predict: Callable[[Classifier, Item], Result], images: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Generator of `predict` of a classifier and each image."""
    with spread((classifier,), lambda these, image: predict(these[0], image), images, workers=workers) as found:
        yield from found
