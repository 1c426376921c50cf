"""Heads of a state dict: linear layers, batch norm, and the activation that must be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.golden import State, make_state

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.families.head import HeadLayer, read_head
from edge_effnet.exporters.families.identify import identify
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint

FEATURES = 1280


@pytest.fixture(scope="module")
def timm_lite() -> State:
    return make_state("timm-tf", "lite0", classes=3)


def with_head(state: State, **tensors: Any) -> State:
    """The state with another head; `__` stands for a dot."""
    body = {key: value for key, value in state.items() if not key.startswith("classifier")}
    return body | {key.replace("__", "."): np.float32(value) for key, value in tensors.items()}


def read(state: State, *, activation: str | None = None) -> tuple[HeadLayer, ...]:
    checkpoint = load_checkpoint(state)
    found = identify(checkpoint, source="timm")
    return read_head(checkpoint, found.head, features=FEATURES, activation=activation)


def norm(width: int, *, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "weight": random.uniform(0.5, 2, width),
        "bias": random.standard_normal(width),
        "running_mean": random.standard_normal(width),
        "running_var": random.uniform(0.5, 2, width),
    }


def apply_norm(values: Any, parts: dict[str, Any]) -> Any:
    parts = {name: np.float32(value).astype(np.float64) for name, value in parts.items()}
    return (values - parts["running_mean"]) / np.sqrt(parts["running_var"] + 1e-5) * parts["weight"] + parts["bias"]


def run(layers: tuple[HeadLayer, ...], values: Any) -> Any:
    for layer in layers:
        values = layer.weight @ values + layer.bias
        if layer.activation == "relu":
            values = np.maximum(values, 0)
    return values


def test_heads_that_are_one_linear_layer(timm_lite: State) -> None:
    weight, bias = timm_lite["classifier.weight"], timm_lite["classifier.bias"]
    heads: list[State] = [
        with_head(timm_lite, classifier__1__weight=weight, classifier__1__bias=bias),
        with_head(timm_lite, classifier__weight=np.asarray(weight)[:, :, None, None], classifier__bias=bias),
        with_head(timm_lite, fc__weight=weight, fc__bias=bias),
        with_head(timm_lite, my__own__head__weight=weight, my__own__head__bias=bias),
    ]
    for state in heads:
        (layer,) = read(state)
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, bias)
    (without,) = read(with_head(timm_lite, classifier__weight=weight))
    assert without.bias.tolist() == [0, 0, 0]


def test_none_gives_the_features(timm_lite: State) -> None:
    assert read(with_head(timm_lite)) == ()


def test_a_head_beside_the_backbone(timm_lite: State) -> None:
    weight = np.ones((2, FEATURES), np.float32)
    state = {f"backbone.{key}": value for key, value in with_head(timm_lite).items()}
    (layer,) = read({**state, "fc.weight": weight, "fc.bias": np.ones(2, np.float32)})
    assert layer.weight.shape == (2, FEATURES)
    assert read({**state, "metric.weight": np.ones((2, 7), np.float32)}) == ()


def test_a_head_of_fastai_is_refused_by_name(timm_lite: State) -> None:
    """`create_timm_model`: the body under `0.model.`; the head under `1.`, behind two poolings side by side."""
    state: State = {f"0.model.{key}": value for key, value in with_head(timm_lite).items()}
    state |= {f"1.2.{item}": np.float32(value) for item, value in norm(2 * FEATURES).items()}
    state |= {"1.4.weight": np.ones((8, 2 * FEATURES), np.float32), "1.8.weight": np.ones((2, 8), np.float32)}
    with pytest.raises(CheckpointError, match=r"1\.2 takes 2560 values, twice .*fastai's AdaptiveConcatPool2d.*--head"):
        read(state, activation="relu")


def test_an_activation_is_asked_for_and_never_guessed(timm_lite: State) -> None:
    state = with_head(timm_lite, classifier__0__weight=np.ones((8, FEATURES)), classifier__3__weight=np.ones((2, 8)))
    with pytest.raises(
        CheckpointError,
        match=r"2 linear layers \(classifier\.0, classifier\.3\).*isn't among the weights; say it: --head-activation",
    ):
        read(state)
    with pytest.raises(UsageError, match="--head-activation 'swoosh' is unknown; expected relu, silu, "):
        read(state, activation="swoosh")
    assert [layer.activation for layer in read(state, activation="silu")] == ["swish", None]
    assert [layer.activation for layer in read(state, activation="none")] == [None, None]


def test_batch_norm_behind_the_linear_layer_and_before_it(timm_lite: State) -> None:
    random = np.random.default_rng(3)
    first, second = random.standard_normal((8, FEATURES)), random.standard_normal((2, 8))
    before, behind = norm(FEATURES, seed=1), norm(8, seed=2)
    state = with_head(
        timm_lite,
        **{f"fc__0__{name}": value for name, value in before.items()},
        fc__1__weight=first,
        **{f"fc__2__{name}": value for name, value in behind.items()},
        fc__5__weight=second,
    )
    values = random.standard_normal(FEATURES)
    hidden = np.float32(first).astype(np.float64) @ apply_norm(values, before)
    expected = np.float32(second).astype(np.float64) @ np.maximum(apply_norm(hidden, behind), 0)
    np.testing.assert_allclose(run(read(state, activation="relu"), values), expected, rtol=1e-9)


def test_batch_norm_behind_the_activation(timm_lite: State) -> None:
    random = np.random.default_rng(4)
    first, second, behind = random.standard_normal((8, FEATURES)), random.standard_normal((2, 8)), norm(8)
    state = with_head(
        timm_lite,
        fc__0__weight=first,
        **{f"fc__2__{name}": value for name, value in behind.items()},
        fc__3__weight=second,
    )
    values = random.standard_normal(FEATURES)
    hidden = apply_norm(np.maximum(np.float32(first).astype(np.float64) @ values, 0), behind)
    expected = np.float32(second).astype(np.float64) @ hidden
    np.testing.assert_allclose(run(read(state, activation="relu"), values), expected, rtol=1e-9)
    unclear = {key.replace("fc.3", "fc.4"): value for key, value in state.items()}
    with pytest.raises(CheckpointError, match=r"before or behind the batch norm fc\.2 isn't among the weights; export"):
        read(unclear, activation="relu")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"classifier__weight": np.ones((2, 100))},
            r"the head has classifier\.weight \[2, 100\]; expected it to take 1280 values",
        ),
        (
            {"classifier__weight": np.ones((2, 2560))},
            "twice the 1280 features: average and maximum pooling side by side",
        ),
        (
            {
                "classifier__0__weight": np.ones(1280),
                "classifier__0__bias": np.ones(1280),
                "classifier__1__weight": np.ones((2, 1280)),
            },
            r"unexpected tensors classifier\.0\.weight \[1280\], .* without running statistics \(LayerNorm\?\)",
        ),
        ({"global_pool__p": np.ones(1)}, r"the head has unexpected tensors global_pool\.p \[1\]"),
        (
            {"classifier__weight": np.ones((2, 1280)), "classifier__bias": np.ones(3)},
            r"classifier\.bias \[3\]; expected \[2\]",
        ),
    ],
)
def test_heads_that_are_not(timm_lite: State, tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(with_head(timm_lite, **tensors))
