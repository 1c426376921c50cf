"""Running a graph in numpy, forward and backward: the float reference, and the place where quantization is simulated.

Works on any batch size and in the dtype of its input (float32, or float64 for a reference).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from edge_effnet.network.activations import Array
from edge_effnet.network.graph import Graph, Node
from edge_effnet.network.operators import input_gradients, run_node

#: Called with every tensor as it is made (the input's name included); what it returns takes the tensor's place.
Hook: TypeAlias = Callable[[str, Array], Array]
#: Computes one node from its inputs.
Run: TypeAlias = Callable[[Node, list[Array]], Array]


def execute(graph: Graph, images: Array, *, hook: Hook | None = None, run: Run | None = None) -> Array:
    """The head's output [N, C] for images [N, H, W, 3]; a tensor is dropped as soon as no later node reads it.

    run: computes a node in `run_node`'s place.
    """
    return execute_all(graph, images, hook=hook, run=run)[graph.output_name]


def execute_all(graph: Graph, images: Array, *, hook: Hook | None = None, run: Run | None = None) -> dict[str, Array]:
    """Output name → value, of every output of the graph; otherwise as `execute`."""
    keep = hook or (lambda _name, tensor: tensor)
    compute = run or run_node
    tensors = {graph.input_name: keep(graph.input_name, images)}
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for index, node in enumerate(graph.nodes):
        tensors[node.name] = keep(node.name, compute(node, [tensors[name] for name in node.inputs]))
        for name in set(node.inputs).difference(graph.outputs):
            if last_use[name] == index:
                del tensors[name]
    return {name: tensors[name] for name in graph.outputs}


def backward(graph: Graph, tensors: dict[str, Array], gradient: Array) -> Iterator[tuple[str, Array]]:
    """(tensor name, gradient) from the head's output to the first node, nodes that it doesn't depend on left out.

    tensors: every tensor of a forward run; each is taken out once it is no longer needed.
    """
    gradients = {graph.output_name: gradient}
    for node in reversed(graph.nodes):
        output = tensors.pop(node.name)
        if node.name not in gradients:
            continue
        found = gradients.pop(node.name)
        yield node.name, found
        inputs = [tensors[name] for name in node.inputs]
        for name, part in zip(node.inputs, input_gradients(node, inputs, output, found), strict=True):
            if name != graph.input_name:
                gradients[name] = gradients[name] + part if name in gradients else part
