"""Turning trained checkpoints into model files (extra: export)."""

from edge_effnet.exporters.export import PRECISIONS, ExportReport, Precision, export

__all__ = ["PRECISIONS", "ExportReport", "Precision", "export"]
