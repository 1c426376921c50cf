"""Float `.onnx` files of any exporter, read by their operators."""

from edge_effnet.exporters.inputs.onnx.network import network_of_onnx

__all__ = ["network_of_onnx"]
