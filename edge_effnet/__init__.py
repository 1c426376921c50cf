"""EfficientNet on small devices: classify photos with INT8 TFLite or ONNX files, with numpy and one engine.

Exporting checkpoints to such files is `edge_effnet.exporters` (extra: export).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_effnet.classifier import Classifier
from edge_effnet.errors import EdgeEffnetError
from edge_effnet.prediction import Prediction
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.version import __version__

if TYPE_CHECKING:
    from edge_effnet.variants import VARIANTS, Variant

__all__ = ["VARIANTS", "Classifier", "EdgeEffnetError", "Prediction", "Preprocessing", "Variant", "__version__"]


def __getattr__(name: str) -> Any:
    """The table of variants, loaded when first used: classifying doesn't need it."""
    if name in ("VARIANTS", "Variant"):
        from edge_effnet import variants

        return getattr(variants, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
