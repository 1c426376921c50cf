"""The JSON document `edge_effnet.json` that every model file carries: what the file is and how to feed it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.framing import Size
from edge_effnet.heads import PLAIN_HEAD, Head
from edge_effnet.labels import label_fault
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.text import parse_json
from edge_effnet.unknown import UnknownRule

#: Highest version of the document's layout that is read. A file says the lowest that can say what it needs.
SCHEMA_VERSION = 2
#: Name of the document inside the packed TFLite metadata, and (without ending) of ONNX's metadata property.
DOCUMENT_NAME = "edge_effnet.json"
ONNX_PROPERTY = "edge_effnet"
#: The ONNX property with the SHA-256 of that one, since protobuf has no checksum of its own.
ONNX_CHECKSUM = "edge_effnet_sha256"
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelDocument:
    """The document's fields (see docs/file-format.md); `extra` keeps fields this version doesn't know.

    image_size: a side of the square, or (height, width). schema_version: 0 stands for the lowest that says it all.
    """

    variant: str
    image_size: int | Size
    num_classes: int
    labels: tuple[str, ...] | None
    preprocessing: Preprocessing
    precision: str
    source: Mapping[str, Any]
    quantization: Mapping[str, Any] | None = None
    accuracy: Mapping[str, Any] | None = None
    created_by: str = ""
    schema_version: int = 0
    weights_sha256: str | None = None
    head: Head = PLAIN_HEAD
    unknown: UnknownRule | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.image_size, int) and self.image_size[0] == self.image_size[1]:
            object.__setattr__(self, "image_size", self.image_size[0])
        object.__setattr__(self, "schema_version", max(self.schema_version, self._needed_version()))

    def _needed_version(self) -> int:
        plain = self.head.is_plain and self.preprocessing.is_plain and isinstance(self.image_size, int)
        return 1 if plain and self.unknown is None else 2

    @property
    def size(self) -> Size:
        """(height, width) of the network's input, in pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def title(self) -> str:
        """What the network is called before people; see `title_of`."""
        return title_of(self.variant)

    @property
    def size_text(self) -> str:
        """ "224×224"; width stands first, as people say it."""
        return f"{self.size[1]}×{self.size[0]}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, fields this version doesn't know included; without `weights_sha256`, `head` and `unknown`
        where they say nothing.
        """
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extra"}
        if self.weights_sha256 is None:
            del own["weights_sha256"]
        if self.head.is_plain:
            del own["head"]
        else:
            own["head"] = self.head.to_dict()
        if self.unknown is None:
            del own["unknown"]
        else:
            own["unknown"] = self.unknown.to_dict()
        own["image_size"] = self.image_size if isinstance(self.image_size, int) else list(self.image_size)
        own["labels"] = None if self.labels is None else list(self.labels)
        own["preprocessing"] = self.preprocessing.to_dict()
        return {**self.extra, **own}

    def to_json(self) -> str:
        """Deterministic text: sorted keys, no blanks, UTF-8."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "model") -> ModelDocument:
        """Parses the document of the file `name`; raises ModelFileError with what is wrong."""
        try:
            content = parse_json(text)
        except ValueError as error:
            raise ModelFileError(f"{name}: its {DOCUMENT_NAME} is not valid JSON ({error})") from error
        if not isinstance(content, dict):
            raise ModelFileError(f"{name}: its {DOCUMENT_NAME} is a {type(content).__name__}; expected an object")
        return _from_dict(content, name)


def title_of(variant: str) -> str:
    """ "EfficientNet-B0" of "b0"; "network" where no architecture was recognised."""
    return variant if variant == "network" else f"EfficientNet-{variant.capitalize()}"


def _from_dict(content: dict[str, Any], name: str) -> ModelDocument:
    version = _field(content, "schema_version", int, name)
    if version < 1:
        raise ModelFileError(f"{name}: {DOCUMENT_NAME} has schema_version {version}; expected 1 or more")
    if version > SCHEMA_VERSION:
        raise ModelFileError(
            f"{name}: made for schema version {version}, this program reads up to {SCHEMA_VERSION}; upgrade edge-effnet"
        )
    known = {item.name for item in fields(ModelDocument)} - {"extra"}
    return ModelDocument(
        schema_version=version,
        variant=_field(content, "variant", str, name),
        image_size=_image_size(content, name),
        num_classes=_positive(content, "num_classes", name),
        labels=_labels(content, name),
        preprocessing=_preprocessing(content, name),
        precision=_field(content, "precision", str, name),
        source=_field(content, "source", dict, name),
        quantization=_field(content, "quantization", (dict, type(None)), name),
        accuracy=_accuracy(content, name),
        created_by=_field(content, "created_by", str, name),
        weights_sha256=_sha256(content, name),
        head=_head(content, name),
        unknown=_unknown(content, name),
        extra={key: value for key, value in content.items() if key not in known},
    )


def _field(content: Mapping[str, Any], key: str, kind: type | tuple[type, ...], name: str) -> Any:
    value = content.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise ModelFileError(f"{name}: {DOCUMENT_NAME} has {key} = {value!r:.60}; expected {expected}")
    return value


def _positive(content: Mapping[str, Any], key: str, name: str) -> int:
    value: int = _field(content, key, int, name)
    if not 1 <= value <= 1_000_000:
        raise ModelFileError(f"{name}: {DOCUMENT_NAME} has {key} = {value}; expected 1 to 1,000,000")
    return value


def _accuracy(content: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What `eval` records, where it is there, has the type it records; other fields may be anything."""
    accuracy: dict[str, Any] | None = _field(content, "accuracy", (dict, type(None)), name)
    for key, value in (accuracy or {}).items():
        if value is not None and not _RECORDED.get(key, _anything)(value):
            found = f"accuracy {key} = {value!r:.60}"
            raise ModelFileError(f"{name}: {DOCUMENT_NAME} has {found}; expected what eval records")
    return accuracy


def _anything(_: Any) -> bool:
    return True


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**12


#: What `eval` records of an accuracy, and how to tell it.
_RECORDED = {"top1": _is_share, "top5": _is_share, "images": _is_count, "data": _is_text, "engine": _is_text}


def _sha256(content: Mapping[str, Any], name: str) -> str | None:
    found: str | None = _field(content, "weights_sha256", (str, type(None)), name)
    if found is not None and not _SHA256.fullmatch(found):
        raise ModelFileError(
            f"{name}: {DOCUMENT_NAME} has weights_sha256 = {found!r:.80}; expected 64 hexadecimal digits"
        )
    return found


def _labels(content: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    labels = _field(content, "labels", (list, type(None)), name)
    if labels is None:
        return None
    counts = (1, 2) if content["num_classes"] == 1 else (content["num_classes"],)
    if not all(isinstance(label, str) for label in labels) or len(labels) not in counts:
        raise ModelFileError(
            f"{name}: {DOCUMENT_NAME} has {len(labels)} labels for {content['num_classes']} classes, or some are no "
            "text"
        )
    for index, label in enumerate(labels):
        if (fault := label_fault(label)) is not None:
            raise ModelFileError(f"{name}: {DOCUMENT_NAME}: label {index} {fault}; expected one line of text")
    return tuple(labels)


def _image_size(content: Mapping[str, Any], name: str) -> int | Size:
    value = content.get("image_size")
    if not isinstance(value, list) or len(value) != 2:
        return _positive(content, "image_size", name)
    height, width = (_positive({"image_size": side}, "image_size", name) for side in value)
    return height, width


def _head(content: Mapping[str, Any], name: str) -> Head:
    if "head" not in content:
        return PLAIN_HEAD
    try:
        head = Head.from_dict(_field(content, "head", dict, name))
    except UsageError as error:
        raise ModelFileError(f"{name}: {DOCUMENT_NAME}: {error}") from error
    if head.thresholds is not None and len(head.thresholds) != content["num_classes"]:
        raise ModelFileError(
            f"{name}: {DOCUMENT_NAME} has {len(head.thresholds)} thresholds for {content['num_classes']} outputs"
        )
    return head


def _unknown(content: Mapping[str, Any], name: str) -> UnknownRule | None:
    if "unknown" not in content:
        return None
    try:
        return UnknownRule.from_dict(_field(content, "unknown", dict, name))
    except UsageError as error:
        raise ModelFileError(f"{name}: {DOCUMENT_NAME}: {error}") from error


def _preprocessing(content: Mapping[str, Any], name: str) -> Preprocessing:
    try:
        return Preprocessing.from_dict(_field(content, "preprocessing", dict, name))
    except UsageError as error:
        raise ModelFileError(f"{name}: {DOCUMENT_NAME}: {error}") from error
