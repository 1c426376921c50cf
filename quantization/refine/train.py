"""The training itself: steps of a few photos, with the float network's tensors as what is to be reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from edge_effnet.heads import HeadKind
from edge_effnet.network.graph import Graph
from edge_effnet.network.structure import find_parts
from edge_effnet.parallel import map_in_order
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.pixels import network_input
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.refine.elementwise import dense
from edge_effnet.quantization.refine.executor import FloatNetwork, Int8Network
from edge_effnet.quantization.refine.parameters import Learned, learnable
from edge_effnet.quantization.refine.plan import BATCH, TOGETHER, Plan
from edge_effnet.quantization.refine.record import Refinement, decibels
from edge_effnet.quantization.refine.views import draw_view
from edge_effnet.system import available_cores

Result = TypeVar("Result")
Photo: TypeAlias = npt.NDArray[np.uint8]
#: What Adam (Kingma & Ba, arXiv 1412.6980) moves each kind by in a step at most: weights and ranges in their own steps,
#: biases in steps of the output, gains in percent. Three times as much for the weights diverges on some networks.
_RATES: Mapping[str, float] = {"steps": 0.001, "bias": 0.004, "gain": 0.03, "range": 0.1}
_BETAS, _EPSILON = (0.9, 0.99), 1e-12
#: Weight of the answers' divergence beside the logits' error as a share of their power.
_ANSWERS = 1.0
#: Steps over which the rates rise to their full height, at most and as a share of all.
_RISE, _RISE_SHARE = 20, 0.1


def train(
    quantized: QuantizedGraph,
    exact: Graph,
    *,
    photos: CalibrationSet,
    plan: Plan,
    seed: int,
    head: HeadKind,
    progress: Progress | None,
) -> tuple[QuantizedGraph, Refinement]:
    """The best state that was met, and how good it is (`refine`)."""
    squares = [np.asarray(photo) for photo in photos]
    learned = learnable(quantized, exact)
    judged = squares[: plan.held_out] or squares
    with _one_thread_each():
        run = _Run(_Pair(learned, exact, judged, head), plan, judged)
        ended = run.through(squares[plan.held_out :], np.random.default_rng(seed), progress)
    learned.restore(run.best)
    record = Refinement(
        planned=plan.steps,
        steps=run.done,
        photos=len(squares) - plan.held_out,
        held_out=plan.held_out,
        before_db=run.before_db,
        after_db=run.best_db,
        step=run.best_step,
        ended=ended,
    )
    return learned.back() if run.best_step else quantized, record


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Torch on one thread a worker: several photos at once, rather than several threads on one operator."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class _Told:
    """What some photos say: the logits' squared error and power and how far the answers are apart, summed, and the
    gradients of what is learned.
    """

    error: float
    power: float
    apart: float = 0.0
    gradients: tuple[Tensor | None, ...] = ()


class _Pair:
    """The int8 network beside the float network it should equal."""

    def __init__(self, learned: Learned, exact: Graph, photos: Sequence[Photo], head: HeadKind) -> None:
        graph, self._head = learned.quantized.graph, head
        self.learned = learned
        self.tensors = [tensor for _, tensor in learned.named()]
        self._int8, self._float, self._output = Int8Network(learned), FloatNetwork(exact), graph.output_name
        self._image = learned.quantized.activations[graph.input_name]
        self._joints = tuple(part.tensors[-1] for part in find_parts(graph) if part.joint)
        self._powers = self._measure_powers(photos)

    def _measure_powers(self, photos: Sequence[Photo]) -> dict[str, float]:
        """Mean square of each tensor that is compared."""
        total = dict.fromkeys((*self._joints, self._output), 0.0)
        for found in _spread(lambda part: self._float(self._input(part), self._joints), photos):
            for name in total:
                total[name] += float(found[name].square().mean()) * len(found[name]) / len(photos)
        return {name: max(power, 1e-12) for name, power in total.items()}

    def _input(self, photos: Sequence[Photo]) -> Tensor:
        pixels = np.concatenate([network_input(photo, self._image) for photo in photos])
        return dense(torch.from_numpy(pixels).permute(0, 3, 1, 2))

    @torch.no_grad()
    def judge(self, photos: Sequence[Photo]) -> _Told:
        """How far the logits are off."""
        image = self._input(photos)
        wanted, found = self._float(image)[self._output], self._int8(image)[self._output]
        apart = float(answers_apart(found, wanted, self._head)) * len(photos)
        return _Told(float((found - wanted).square().sum()), float(wanted.square().sum()), apart)

    def learn(self, photos: Sequence[Photo], turn: int) -> _Told:
        """Gradients of the logits' and the joints' mean squared error, each as a share of its tensor's power, plus how
        far the answers are apart.
        """
        image = self._input(photos)
        wanted, found = self._float(image, self._joints), self._int8(image, self._joints, turn=turn)
        errors = {name: (found[name] - wanted[name]).square().mean() / self._powers[name] for name in wanted}
        logits = errors.pop(self._output)
        apart = answers_apart(found[self._output], wanted[self._output], self._head)
        loss = logits + _ANSWERS * apart + sum(errors.values()) / max(len(errors), 1)
        gradients = torch.autograd.grad(loss * (len(photos) / BATCH), self.tensors, allow_unused=True)
        return _Told(float(logits.detach()) * len(photos), float(len(photos)), gradients=gradients)


def answers_apart(found: Tensor, wanted: Tensor, head: HeadKind) -> Tensor:
    """Kullback-Leibler divergence of the scores that logits [N, C] stand for, in nats, the mean over the photos; for
    sigmoids also over the classes.

    What moves a class that nobody would call costs nothing here, what turns a close decision costs most.
    """
    if head == "softmax":
        return functional.kl_div(found.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)
    if head != "sigmoid":
        return found.new_zeros(())
    share = wanted.sigmoid()
    least = functional.binary_cross_entropy_with_logits(wanted, share)
    return functional.binary_cross_entropy_with_logits(found, share) - least


def _spread(function: Callable[[Sequence[Photo]], Result], photos: Sequence[Photo]) -> Iterator[Result]:
    """`function` of a few photos at a time, on all cores, in order: the sums are the same on any number of them."""
    parts = (photos[start : start + TOGETHER] for start in range(0, len(photos), TOGETHER))
    return map_in_order(function, parts, workers=available_cores())


class _Run:
    """The state of a training: where it is, and the best that was met."""

    def __init__(self, pair: _Pair, plan: Plan, judged: Sequence[Photo]) -> None:
        self._pair, self._plan, self._judged = pair, plan, judged
        self._adam = torch.optim.Adam(_groups(pair.learned), betas=_BETAS, eps=_EPSILON)
        self._rates = [float(group["lr"]) for group in self._adam.param_groups]
        self.done, self.best_step, self.best = 0, 0, pair.learned.state()
        self.before_db, self._least = self._judge()
        self.best_db = self.before_db

    def through(self, photos: Sequence[Photo], generator: np.random.Generator, progress: Progress | None) -> str:
        """All steps, or as many as Ctrl-C allows; how it ended."""
        order = _endless_order(len(photos), generator)
        try:
            while self.done < self._plan.steps:
                self._step([draw_view(photos[next(order)], generator) for _ in range(BATCH)])
                self.done += 1
                if self.done % self._plan.judged_every == 0 or self.done == self._plan.steps:
                    self._keep_best()
                if progress is not None:
                    progress(self._stage(), self.done, self._plan.steps)
        except KeyboardInterrupt:
            self._keep_best()
            return "by Ctrl-C"
        except FloatingPointError:
            return "diverged"
        return "as planned"

    def _stage(self) -> str:
        return f"refinement, {self.before_db:.1f} dB" + (f" → {self.best_db:.1f}" if self.best_step else "")

    def _step(self, photos: Sequence[Photo]) -> None:
        rise = min(_RISE, max(1.0, _RISE_SHARE * self._plan.steps))
        height = min(1.0, (self.done + 1) / rise) * (1 + math.cos(math.pi * self.done / self._plan.steps)) / 2
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * height
        told = list(_spread(lambda part: self._pair.learn(part, self.done), photos))
        if not all(math.isfinite(one.error) for one in told):
            raise FloatingPointError
        for tensor, parts in zip(self._pair.tensors, zip(*(one.gradients for one in told), strict=True), strict=True):
            found = [part for part in parts if part is not None]
            tensor.grad = torch.stack(found).sum(0) if found else None
        self._adam.step()

    def _judge(self) -> tuple[float, float]:
        """The logits' dB, and the loss without the joints', on the photos judged by."""
        told = list(_spread(self._pair.judge, self._judged))
        error, power = sum(one.error for one in told), sum(one.power for one in told)
        apart = sum(one.apart for one in told) / len(self._judged)
        return decibels(power, error), error / max(power, 1e-12) + _ANSWERS * apart

    def _keep_best(self) -> None:
        """Takes the state where it has the least loss so far, and the logits are no worse than in the beginning."""
        found_db, loss = self._judge()
        if loss < self._least and found_db >= self.before_db:
            self._least, self.best_db, self.best_step = loss, found_db, self.done
            self.best = self._pair.learned.state()


def _groups(learned: Learned) -> list[dict[str, object]]:
    """Adam's groups: one a kind, with its rate."""
    kinds: dict[str, list[Tensor]] = {kind: [] for kind in _RATES}
    for name, tensor in learned.named():
        kinds[name.partition(":")[0]].append(tensor)
    return [{"params": tensors, "lr": _RATES[kind]} for kind, tensors in kinds.items() if tensors]


def _endless_order(count: int, generator: np.random.Generator) -> Iterator[int]:
    """Places of photos, each once before any comes again."""
    while True:
        yield from map(int, generator.permutation(count))
