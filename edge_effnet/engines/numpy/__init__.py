"""The engine for everywhere else: `.tflite` files with numpy alone, and the specification of the integer arithmetic."""

from __future__ import annotations

from edge_effnet.engines.numpy.session import NumpySession, status

__all__ = ["NumpySession", "status"]
