"""Float `.tflite` files of any converter, read by their operators."""

from edge_effnet.exporters.inputs.tflite.network import network_of_tflite

__all__ = ["network_of_tflite"]
