"""Which photo formats are read, and what brings those that aren't."""

from __future__ import annotations

from collections.abc import Sequence

from edge_effnet.contents import AVIF, HEIF, what_is
from edge_effnet.contents import TIFF as TIFF_KIND

#: Formats PIL may try; anything else is refused before a decoder sees it.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
#: Read where something installed reads them: AVIF with a Pillow that was built with it, HEIF with the extra `heif`.
EXTRA_FORMATS = ("AVIF", "HEIF")
#: Read on request alone: a container of many codecs, with many more ways to be broken.
TIFF = "TIFF"
AVIF_SUFFIXES, HEIF_SUFFIXES = (".avif",), (".heic", ".heif")


def formats_to_try(head: bytes, allowed: Sequence[str]) -> tuple[str, ...]:
    """PIL's decoders for a file that begins with `head`: the usual ones, or the one of EXTRA_FORMATS that it needs."""
    kind = what_is(head)
    if kind is AVIF and "AVIF" in allowed and readable_extra(".avif"):
        return ("AVIF",)
    if kind is HEIF and "HEIF" in allowed and readable_extra(".heif"):
        return ("HEIF",)
    return tuple(name for name in allowed if name not in EXTRA_FORMATS)


def why_unidentified(head: bytes, allowed: Sequence[str]) -> str:
    """What to say of a file that none of the allowed decoders takes."""
    kind = what_is(head)
    if kind is TIFF_KIND and TIFF not in allowed:
        return "a TIFF, which is read on request alone: --allow-tiff, or ImageRules(formats=(*IMAGE_FORMATS, TIFF))"
    if kind is not None and kind in (HEIF, AVIF):
        return f"{kind.what}; {kind.advice}"
    names = ", ".join(name for name in allowed if name not in EXTRA_FORMATS)
    return f"not a {names} image" + (f" but {kind.what}; {kind.advice}" if kind and kind.name != "photo" else "")


def readable_extra(suffix: str) -> bool:
    """Whether photos of this ending, one that Pillow alone needn't know, are read here: .avif, .heic, .heif."""
    if suffix in AVIF_SUFFIXES:
        from PIL import features

        return "avif" in features.get_supported_modules()
    return suffix in HEIF_SUFFIXES and _has_heif()


def _has_heif() -> bool:
    """Whether PIL knows HEIF now."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
