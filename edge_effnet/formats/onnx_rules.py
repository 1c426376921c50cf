"""What an ONNX graph must not hold before an engine may see it: control flow, texts, sizes that depend on the photo.

ONNX Runtime knows the shapes of a graph better than this reader does; what it needs for them is measured in a trial run
(trial.py). That run speaks for all photos only where no size is computed from the photo's values, which is seen here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.bounds import MOST_SIDE
from edge_effnet.formats.onnx_graph import OnnxInitializer, OnnxNode
from edge_effnet.formats.records import SHOWN, TensorFacts

#: Control flow, sequences, chance and texts: no classifier of photos needs them.
_REFUSED = frozenset(
    {"Loop", "If", "Scan", "SequenceMap", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {
        "Multinomial",
        "Bernoulli",
        "Optional",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceInsert",
        "ConcatFromSequence",
    }
    | {"SplitToSequence", "RNN", "LSTM", "GRU", "StringNormalizer", "TfIdfVectorizer", "RegexFullMatch", "StringConcat"}
    | {"StringSplit", "ImageDecoder", "BeamSearch", "GreedySearch", "Sampling"}
)
#: Operators whose output's size is said by the values of these inputs.
_SIZES: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Pad": (1,),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Range": (0, 1, 2),
    "OneHot": (1,),
    "Slice": (1, 2, 3, 4),
    "TopK": (1,),
    "Split": (1,),
    "EyeLike": (),
    "HannWindow": (0,),
    "HammingWindow": (0,),
    "BlackmanWindow": (0,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "AffineGrid": (1,),
    "MaxUnpool": (2,),
    "Col2Im": (1, 2),
    "DFT": (1,),
    "STFT": (1, 3),
    "CenterCropPad": (1,),
}
#: What of a tensor doesn't depend on its values.
_OF_SHAPES = frozenset({"Shape", "Size"})


def check_nodes(
    nodes: Sequence[OnnxNode], initializers: Sequence[OnnxInitializer], inputs: Sequence[TensorFacts], name: str
) -> None:
    """Raises ModelFileError naming the node, initializer or input that is refused."""
    _check_values(initializers, inputs, name)
    of_photo = {item.name for item in inputs}
    for index, node in enumerate(nodes):
        where = f"{name}: node {index} ({node.op_type:.{SHOWN}})"
        if node.op_type in _REFUSED or node.holds_graph:
            raise ModelFileError(f"{where} is control flow, text or chance, which no such network needs")
        sizes = [node.inputs[place] for place in _SIZES.get(node.op_type, ()) if place < len(node.inputs)]
        if of_photo.intersection(sizes):
            raise ModelFileError(
                f"{where} takes a size from the photo's values; expected sizes that are the same for every photo"
            )
        if node.op_type not in _OF_SHAPES and of_photo.intersection(node.inputs):
            of_photo.update(node.outputs)


def _check_values(initializers: Sequence[OnnxInitializer], inputs: Sequence[TensorFacts], name: str) -> None:
    texts = [item.name for item in initializers if item.dtype == "string"]
    texts += [item.name for item in inputs if item.dtype == "string"]
    if texts:
        raise ModelFileError(f"{name}: tensor {texts[0]!r:.{SHOWN}} holds text; expected a network of plain numbers")
    for item in inputs:
        if max((side for side in item.shape or () if side is not None), default=0) > MOST_SIDE:
            sides = list(item.shape or ())
            raise ModelFileError(
                f"{name}: the input {item.name!r:.{SHOWN}} is {sides}; expected sides of at most {MOST_SIDE}"
            )
