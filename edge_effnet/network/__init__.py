"""A trained network as a graph of operators, with all that is known of it."""

from edge_effnet.network.graph import Graph
from edge_effnet.network.records import Head, Network, Origin

__all__ = ["Graph", "Head", "Network", "Origin"]
