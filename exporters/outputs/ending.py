"""The end of a file that gives probabilities, for programs that take no logits (Frigate, ML Kit)."""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.heads import Head
from edge_effnet.network.graph import Activation, Graph, Softmax

PROBABILITIES_NAME = "probabilities"


def with_probabilities(graph: Graph, head: Head) -> Graph:
    """The graph with the head's softmax or sigmoid behind its output, where the head asks for probabilities."""
    if head.output == "logits":
        return graph
    inputs = (graph.output_name,)
    last = (
        Softmax(PROBABILITIES_NAME, inputs)
        if head.kind == "softmax"
        else Activation(PROBABILITIES_NAME, inputs, "sigmoid")
    )
    return replace(graph, nodes=(*graph.nodes, last), outputs=(PROBABILITIES_NAME, *graph.outputs[1:]))
