"""Matrix products on one thread each: photos are what is spread over the cores.

Several threads of ours that each wait for several of BLAS's share the cores badly (a B0 on two busy cores: 0.28 s a
photo against 0.04 s), and what BLAS splits among its threads it also adds up in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_effnet.errors import MissingDependencyError


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While it is open, numpy's matrix products run in the thread that asks for them. Raises MissingDependencyError."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingDependencyError(
            "quantizing activations needs threadpoolctl: pip install 'edge-effnet[export]'"
        ) from error
    with threadpool_limits(limits=1, user_api="blas"):
        yield
