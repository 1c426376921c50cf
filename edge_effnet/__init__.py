"""EfficientNet on small devices: classify photos with INT8 TFLite or ONNX files, with numpy and one engine.

Exporting checkpoints to such files is `edge_effnet.exporters` (extra: export).
"""

from edge_effnet.classifier import Classifier
from edge_effnet.errors import EdgeEffnetError
from edge_effnet.prediction import Prediction
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.variants import VARIANTS, Variant
from edge_effnet.version import __version__

__all__ = ["VARIANTS", "Classifier", "EdgeEffnetError", "Prediction", "Preprocessing", "Variant", "__version__"]
