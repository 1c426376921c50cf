"""The contract of stages: what they require is measured or ensured, and a stage that doesn't keep its word is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.networks import SIZE, float_graph, narrow_state, photos

from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Border, Graph
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import STAGES, run_stages
from edge_effnet.quantization.recipe import PLAIN, Recipe
from edge_effnet.quantization.records import with_fixed
from edge_effnet.quantization.state import Stage, State, Work, known


@pytest.fixture(scope="module")
def work() -> Work:
    drawn = draw_calibration_set(photos(2), Preprocessing(SIZE, SIZE), limit=2, seed=0)
    return Work(drawn, Recipe())


def test_every_stage_is_switched_by_itself() -> None:
    names = [stage.name for stage in STAGES]
    assert len(names) == len(set(names))
    always = [stage.name for stage in STAGES if stage.enabled(PLAIN)]
    assert always == ["folding", "ranges", "weights"]
    for switch, value in {"equalise": True, "swishes": True, "gates": True, "lanes": 0.1}.items():
        enabled = [stage.name for stage in STAGES if stage.enabled(replace(PLAIN, **{switch: value}))]  # type: ignore[arg-type]
        assert len(enabled) == len(always) + 1


def test_stages_need_no_more_than_they_say(work: Work) -> None:
    """Each stage alone, behind the first and what it asks for."""
    graph = float_graph(narrow_state("b0"), "b0")
    for index, stage in enumerate(STAGES):
        before = tuple(other for other in STAGES[:index] if other.ensures & {"image", "activations", "weights"})
        state = run_stages(State(graph), work, (*before, stage))
        assert stage.ensures <= state.facts


def test_a_stage_that_breaks_its_word_is_named(work: Work) -> None:
    graph = float_graph(narrow_state("lite0"), "lite0")
    idle = Stage("idle", lambda _recipe: True, frozenset(), frozenset({"weights"}), lambda state, _work: state)
    with pytest.raises(RuntimeError, match="stage idle doesn't ensure weights"):
        run_stages(State(graph), work, (idle,))
    with pytest.raises(RuntimeError, match="stage weights requires activations, which no stage before it ensures"):
        run_stages(State(graph), work, (STAGES[0], next(stage for stage in STAGES if stage.name == "weights")))
    with pytest.raises(RuntimeError, match="uses a fact that it doesn't require"):
        known(None)


def test_a_stage_that_changes_what_the_kernels_fix_is_named(work: Work) -> None:
    """A sigmoid has 1/256, and a copy of its input's values the input's parameters."""

    def halve(state: State, _work: Work) -> State:
        found = {name: replace(params, scale=params.scale / 2) for name, params in known(state.activations).items()}
        return replace(state, activations=found)

    graph = float_graph(narrow_state("b0"), "b0")
    plain = tuple(stage for stage in STAGES if stage.enabled(PLAIN))
    halving = Stage("halving", lambda _recipe: True, frozenset(), frozenset(), halve)
    with pytest.raises(RuntimeError, match=r"stage halving changes int8 parameters that the kernels fix, of .*gate"):
        run_stages(State(graph), work, (*plain, halving))


def test_a_copy_has_its_inputs_parameters() -> None:
    border = Border("framed", ("image",), Padding(1, 1, 1, 1), (0.0,) * 3)
    nodes = (border, Activation("gate", ("framed",), "sigmoid"), Activation("bent", ("gate",), "relu"))
    graph = Graph("image", (1, 4, 4, 3), nodes, ("bent",))
    image, other = QuantParams(1.0, -128), QuantParams(0.5, 3)
    assert with_fixed(graph, {"image": image, "framed": other, "gate": other, "bent": other}) == {
        "image": image,
        "framed": image,
        "gate": SIGMOID_PARAMS,
        "bent": other,
    }
    assert with_fixed(graph, {"framed": other}) == {"framed": other}


def test_a_rewrite_forgets_what_was_measured_before(work: Work) -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    state = run_stages(State(graph), work)
    assert {"measured", "activations", "weights"} <= state.facts
    assert not {"measured", "activations", "weights"} & state.rewritten(graph, None).facts
