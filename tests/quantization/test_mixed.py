"""Which tensors go back to float32 together, what that costs, and the search for the fewest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from support.networks import float_graph, inputs_of, narrow_state

from edge_effnet.network.graph import Graph
from edge_effnet.numerics import QuantParams, params_for_range
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.simulate import simulate
from edge_effnet.quantization.mixed import Island, Search, cost_us, find_islands, float_tensors, with_floats
from edge_effnet.quantization.records import QuantizedGraph


def quantized(variant: str) -> QuantizedGraph:
    graph = float_graph(narrow_state(variant), variant, size=32)
    found = measure(graph, list(inputs_of(graph, 1)), Wanted(statistics=10_000)).statistics
    activations = {
        name: params_for_range(values.low, values.high)
        for name, values in found.items()
        if name not in ("pooled", graph.output_name)
    }
    return QuantizedGraph(graph, {graph.input_name: params_for_range(-1, 1), **activations})


def islands_of(model: QuantizedGraph) -> dict[str, Island]:
    return {island.name: island for island in find_islands(model.graph, model.activations)}


@pytest.mark.parametrize("variant", ["b0", "lite0"])
def test_every_tensor_inside_the_network_belongs_to_one_island(variant: str) -> None:
    model = quantized(variant)
    islands = islands_of(model)
    members = [tensor for island in islands.values() for tensor in island.tensors]
    assert len(members) == len(set(members))
    left = model.activations.keys() - set(members) - {model.graph.input_name}
    assert all(".project" in name or ".add" in name or "border" in name for name in left)
    assert {"stem", "head", "blocks.0.depthwise", "blocks.1.expand", "blocks.1.depthwise"} <= islands.keys()
    assert "blocks.0.expand" not in islands  # the first block has no expansion
    assert any(".se." in tensor for tensor in islands["blocks.1.depthwise"].tensors) == (variant == "b0")


def bottlenecks(floats: frozenset[str]) -> set[str]:
    return {name for name in floats if ".project" in name or ".add" in name}


def test_a_bottleneck_between_two_islands_goes_with_them() -> None:
    model = quantized("b0")
    islands, block = islands_of(model), plain_block(model.graph)
    behind = islands[f"blocks.{block}.depthwise"]
    assert bottlenecks(float_tensors(model.graph, [behind])) == set()
    assert bottlenecks(float_tensors(model.graph, [behind, islands[f"blocks.{block + 1}.expand"]])) == {
        f"blocks.{block}.project"
    }


def plain_block(graph: Graph) -> int:
    """A block without a sum, before another without."""
    sums = {node.name.split(".")[1] for node in graph.nodes if node.name.endswith(".add")}
    return next(block for block in range(1, 6) if not {str(block), str(block + 1)} & sums)


def test_a_sum_goes_with_all_that_meet_in_it_or_stays_int8() -> None:
    model = quantized("b0")
    islands = islands_of(model)
    block = next(
        int(node.name.split(".")[1])
        for node in model.graph.nodes
        if node.name.endswith(".add") and not node.name.startswith("blocks.0.")
    )
    into = [islands[f"blocks.{block - 1}.depthwise"], islands[f"blocks.{block}.expand"]]
    assert bottlenecks(float_tensors(model.graph, into)) == set()  # the sum reads the first of them too
    around = [*into, islands[f"blocks.{block}.depthwise"], islands[f"blocks.{block + 1}.expand"]]
    assert bottlenecks(float_tensors(model.graph, around)) == {
        f"blocks.{block}.add",
        f"blocks.{block}.project",
        f"blocks.{block - 1}.project",
    }


def test_all_islands_leave_nothing_rounded_but_the_image_and_the_border() -> None:
    model = quantized("b0")
    floats = float_tensors(model.graph, find_islands(model.graph, model.activations))
    assert all(name == model.graph.input_name or "border" in name for name in model.activations.keys() - floats)


def test_cost_grows_with_each_island_and_less_side_by_side() -> None:
    model = quantized("b0")
    islands = islands_of(model)

    def cost(*names: str) -> float:
        return cost_us(model.graph, model.activations, float_tensors(model.graph, [islands[name] for name in names]))

    assert cost() == 0
    assert (
        0
        < cost("blocks.2.expand")
        < cost("blocks.2.expand", "blocks.2.depthwise")
        < cost("blocks.2.expand") + cost("blocks.2.depthwise")
    )
    assert cost(*islands) > cost("stem", "head")


def test_floats_are_listed_and_computed_exactly() -> None:
    model = quantized("b0")
    image = inputs_of(model.graph, 1)[0]
    floats = float_tensors(model.graph, find_islands(model.graph, model.activations))
    mixed = with_floats(model, floats, lambda _: model.graph)
    assert mixed.summary is not None
    assert mixed.summary["float_tensors"] == sorted(floats)
    only_image = QuantizedGraph(model.graph, {model.graph.input_name: model.activations[model.graph.input_name]})
    np.testing.assert_allclose(simulate(mixed, image), simulate(only_image, image), rtol=1e-5, atol=1e-5)


def search(
    model: QuantizedGraph,
    harms: Mapping[str, float],
    *,
    correct: Callable[[Mapping[str, QuantParams]], Graph] | None = None,
    told: list[str] | None = None,
) -> Search:
    """A search where each island does a known harm, and the drop is the sum of the harms."""
    islands = islands_of(model)

    def harm(found: QuantizedGraph) -> float:
        return sum(value for name, value in harms.items() if islands[name].tensors[0] in found.activations)

    return Search(
        model,
        correct=correct or (lambda _: model.graph),
        harm=harm,
        drop=harm,
        progress=None if told is None else lambda stage, done, total: told.append(f"{stage} {done}/{total}"),
    )


def test_nothing_is_returned_where_the_target_holds() -> None:
    model = quantized("b0")
    found = search(model, {"stem": 1.0}).until(1.0)
    assert found.islands == ()
    assert found.quantized.activations == model.activations


def test_most_harm_per_microsecond_goes_first() -> None:
    model = quantized("b0")
    islands = islands_of(model)

    def alone(name: str) -> float:
        return cost_us(model.graph, model.activations, float_tensors(model.graph, [islands[name]]))

    harms = {"stem": 3 * alone("stem"), "head": 2 * alone("head"), "blocks.3.expand": alone("blocks.3.expand")}
    told: list[str] = []
    found = search(model, harms, told=told).until(sum(harms.values()) - harms["stem"] - harms["head"] + 0.001)
    assert [island.name for island in found.islands] == ["stem", "head"]
    assert told[-1] == f"max-drop 2/{len(islands)}"
    assert f"islands {len(islands)}/{len(islands)}" in told


def test_what_a_later_island_makes_needless_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cheap island is returned first; then one is needed that alone is enough."""
    model = quantized("b0")
    harms = {"stem": 1.0, "blocks.1.expand": 1.2}
    order = iter([islands_of(model)["stem"], islands_of(model)["blocks.1.expand"]])
    monkeypatch.setattr(Search, "_next", lambda *_: next(order))
    found = search(model, harms).until(1.1)
    assert [island.name for island in found.islands] == ["blocks.1.expand"]


def test_out_of_reach_gives_the_least_drop_there_is() -> None:
    model = quantized("b0")
    islands = islands_of(model)
    harms = dict.fromkeys(islands, 1.0)

    def drop(found: QuantizedGraph) -> float:
        left = sum(island.tensors[0] in found.activations for island in islands.values())
        return 5.0 + abs(left - 3)

    found = replace(search(model, harms), drop=drop).until(1.0)
    assert found.drop == 5.0
    assert len(found.islands) == len(islands) - 3


def test_biases_are_corrected_for_what_is_still_rounded() -> None:
    model = quantized("b0")
    seen: list[set[str]] = []

    def correct(activations: Mapping[str, QuantParams]) -> Graph:
        seen.append(set(activations))
        return model.graph

    found = search(model, {"stem": 1.0}, correct=correct).until(0.5)
    assert set(found.quantized.activations) == seen[-1]
    assert "stem" not in seen[-1]
