"""Keras files, read without TensorFlow and without running anything."""

from edge_effnet.exporters.inputs.keras.network import network_of_keras

__all__ = ["network_of_keras"]
