"""What a file is, told by its first bytes, and what takes it: for the messages of whoever was given another kind."""

from __future__ import annotations

from dataclasses import dataclass

#: As many of the first bytes as `what_is` looks at.
HEAD_BYTES = 64
_EXPORT = "`edge-effnet export` makes a model file of it"
_PREDICT = "`edge-effnet predict` takes it"
_MODEL = "`edge-effnet info` says what it is, and predict, eval and bench take it as the model"
#: Brands of an ISO base media file (ISO/IEC 14496-12) that hold a still picture.
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


@dataclass(frozen=True)
class Kind:
    """name: "photo", "model", "weights" or "other". what: a noun with its article. advice: what to do with it."""

    name: str
    what: str
    advice: str


HEIF = Kind("photo", "a HEIC photo", "it needs pillow-heif: pip install 'edge-effnet[heif]'")
AVIF = Kind("photo", "an AVIF photo", "it needs a Pillow with AVIF: pip install -U pillow")
TIFF = Kind("photo", "a TIFF photo", "`edge-effnet predict --allow-tiff` takes it")
#: (position, bytes found there, the kind), the first that fits.
_MARKS = (
    (4, b"TFL3", Kind("model", "a TFLite model", _MODEL)),
    (4, b"ORTM", Kind("other", "an ONNX Runtime .ort file", "give the .onnx it was made from")),
    (0, b"\xff\xd8\xff", Kind("photo", "a JPEG photo", _PREDICT)),
    (0, b"\x89PNG", Kind("photo", "a PNG photo", _PREDICT)),
    (0, b"GIF8", Kind("photo", "a GIF photo", _PREDICT)),
    (8, b"WEBP", Kind("photo", "a WebP photo", _PREDICT)),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
    (0, b"\x89HDF", Kind("weights", "an HDF5 file, as Keras saves weights", _EXPORT)),
    (0, b"PK\x03\x04", Kind("weights", "a zip, as PyTorch and Keras save weights", _EXPORT)),
    (0, b"\x80\x02", Kind("weights", "a pickle, as PyTorch saves weights", _EXPORT)),
    (8, b'{"', Kind("weights", "safetensors weights", _EXPORT)),
    (0, b"version https://git-lfs", Kind("other", "a Git LFS pointer", "fetch the file itself with `git lfs pull`")),
    (0, b"<!DOCTYPE", Kind("other", "a web page", "download the file itself")),
    (0, b"<html", Kind("other", "a web page", "download the file itself")),
    (0, b"%PDF", Kind("other", "a PDF", "save its pictures as JPEG or PNG")),
    (0, b"\x00\x00\x00\x0cJXL ", Kind("photo", "a JPEG XL photo", "save it as JPEG or PNG")),
    (0, b"\xff\x0a", Kind("photo", "a JPEG XL photo", "save it as JPEG or PNG")),
    (0, b"\x1aE\xdf\xa3", Kind("other", "a video", "`edge-effnet camera --source` plays it")),
    (4, b"ftyp", Kind("other", "a video", "`edge-effnet camera --source` plays it")),
)


def what_is(head: bytes | memoryview) -> Kind | None:
    """The kind of file that begins with `head` (64 bytes will do); None where the bytes don't tell."""
    head = bytes(head[:HEAD_BYTES])
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return AVIF
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return AVIF if _AVIF_BRANDS[0] in head[16:] else HEIF
    return next((kind for position, mark, kind in _MARKS if head[position : position + len(mark)] == mark), None)
