from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_effnet.engines.numpy.memory import Lifetime, plan

LIVES = st.lists(
    st.builds(
        lambda first, length, size: Lifetime(first, first + length, size),
        st.integers(0, 20),
        st.integers(0, 8),
        st.integers(0, 5000),
    )
)


@given(LIVES)
def test_tensors_that_live_together_do_not_touch(lives: list[Lifetime]) -> None:
    lifetimes = dict(enumerate(lives))
    layout = plan(lifetimes)
    for tensor, life in lifetimes.items():
        start = layout.offsets[tensor]
        assert start % 64 == 0
        assert start + life.size <= layout.size
        for other in range(tensor):
            if life.first <= lives[other].last and lives[other].first <= life.last:
                assert (
                    start + life.size <= layout.offsets[other]
                    or layout.offsets[other] + lives[other].size <= start
                    or 0 in (life.size, lives[other].size)
                )


def test_a_chain_needs_two_places() -> None:
    """Each tensor dies when the next one is made: 100 tensors of 640 bytes in the memory of two."""
    assert plan({index: Lifetime(index, index + 1, 640) for index in range(100)}).size == 1280


def test_nothing_to_place() -> None:
    assert plan({}).size == 0
