"""The files packed behind a `.tflite` flatbuffer: a zip with the document and the label file, read within bounds.

Source: TFLite Metadata ("associated files": a zip appended to the model) and the document of docs/file-format.md.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.formats.records import SHOWN
from edge_effnet.metadata import DOCUMENT_NAME, ModelDocument

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

LABELS_NAME = "labels.txt"
MAX_MEMBERS = 16
MAX_MEMBER_BYTES = 4 << 20
MAX_TOTAL_BYTES = 8 << 20
_MAX_DIRECTORY_BYTES = 64 << 10
#: PKWARE's APPNOTE.TXT 4.3.16: end of central directory, 22 bytes and a comment of up to 65,535.
_END_SIGNATURE = b"PK\x05\x06"
_END = struct.Struct("<4s4H2IH")
_MAX_COMMENT = 0xFFFF
_ZIP64_LOCATOR = (b"PK\x06\x07", 20)
_MEMBER_SIGNATURE = b"PK\x03\x04"
#: How far behind the flatbuffer's last known byte a cut-off zip is looked for.
_SEARCHED_BYTES = 1 << 16
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class PackedFiles:
    """`files`: member name → content, in the zip's order; `start`: where the zip begins, the file's end without one."""

    files: Mapping[str, bytes]
    start: int

    def document(self, name: str) -> ModelDocument | None:
        """The packed document of the file `name`; None without one. Raises ModelFileError when it's broken."""
        text = self.files.get(DOCUMENT_NAME)
        return None if text is None else parse_document(text, name=name)

    def labels(self) -> tuple[str, ...] | None:
        """Lines of `labels.txt`, or else of the first *.txt member; None without one."""
        names = (
            [LABELS_NAME]
            if LABELS_NAME in self.files
            else [name for name in self.files if name.lower().endswith(".txt")]
        )
        if not names:
            return None
        lines = [line.rstrip("\r") for line in self.files[names[0]].decode("utf-8-sig", "replace").split("\n")]
        while lines and not lines[-1].strip():
            lines.pop()
        return tuple(lines)


def parse_document(text: bytes, *, name: str) -> ModelDocument:
    """The document of the file `name` from JSON; raises ModelFileError, whatever is wrong with it."""
    try:
        document = ModelDocument.from_json(text, name=name)
        if b"\\u" in text:  # an escape can smuggle in half a surrogate pair, which no output could encode
            document.to_json().encode("utf-8")
    except (OverflowError, UnicodeEncodeError) as error:
        raise ModelFileError(f"{name}: its {DOCUMENT_NAME} holds a value that can't be meant ({error})") from error
    return document


def packed_files(document: ModelDocument, others: Mapping[str, bytes] | None = None) -> bytes:
    """The zip that is appended to the flatbuffer: document, labels.txt if any, others. Stored, dated 1980:
    deterministic.

    others: member name → content, left out where the document brings a file of that name.
    Raises UsageError for text that UTF-8 can't hold.
    """
    import zipfile

    try:
        files = {DOCUMENT_NAME: document.to_json().encode("utf-8")}
        if document.labels is not None:
            files[LABELS_NAME] = ("\n".join(document.labels) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"a label or another text of the document isn't valid Unicode ({error})") from error
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [
            *files.items(),
            *((name, content) for name, content in (others or {}).items() if name not in files),
        ]:
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def read_packed(data: memoryview, *, name: str, flatbuffer_end: int) -> PackedFiles:
    """The packed files of the whole file `data`, in memory and within bounds.

    flatbuffer_end: the bytes before it belong to the flatbuffer. Without a zip `files` is empty.
    Raises ModelFileError for a zip that is broken, cut off, encrypted, too large or overlaps the flatbuffer.
    """
    if not _has_zip(data, name):
        if _MEMBER_SIGNATURE in bytes(data[flatbuffer_end : flatbuffer_end + _SEARCHED_BYTES]):
            raise ModelFileError(f"{name}: the packed files behind the model are cut off; get the file again")
        return PackedFiles({}, len(data))
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(_MemoryFile(data)) as archive:
            members = _checked_members(archive, name)
            start = min((member.header_offset for member in members), default=archive.start_dir)
            if start < flatbuffer_end:
                raise ModelFileError(
                    f"{name}: the packed files begin at byte {start}, inside the model that ends at byte "
                    f"{flatbuffer_end}; get the file again"
                )
            return PackedFiles({member.filename: _content(archive, member, name) for member in members}, start)
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        ValueError,
        EOFError,
        OSError,
        RuntimeError,
        OverflowError,
    ) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{name}: the packed files behind the model are broken ({error!s:.200}); get the file again"
        ) from error


def _has_zip(data: memoryview, name: str) -> bool:
    """Whether an end record reaches exactly to the end of the file; refuses what ZipFile would read without bounds."""
    tail = bytes(data[-(_END.size + _MAX_COMMENT) :])
    at = tail.rfind(_END_SIGNATURE, 0, len(tail) - _END.size + len(_END_SIGNATURE))
    if at < 0:
        return False
    *_, count, directory_bytes, _offset, comment_bytes = _END.unpack_from(tail, at)
    if at + _END.size + comment_bytes != len(tail):
        return False
    signature, distance = _ZIP64_LOCATOR
    if tail[max(at - distance, 0) : at].startswith(signature):
        raise ModelFileError(
            f"{name}: the packed files are a zip64 archive; expected at most {MAX_MEMBERS} small files"
        )
    if count > MAX_MEMBERS or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise ModelFileError(
            f"{name}: {count} packed files in a directory of {directory_bytes} bytes; at most {MAX_MEMBERS} small "
            "files are read"
        )
    return True


def _checked_members(archive: ZipFile, name: str) -> list[ZipInfo]:
    """The members, once their number, sizes and methods are known to be harmless."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ModelFileError(f"{name}: {len(members)} packed files; at most {MAX_MEMBERS} are read")
    if len({member.filename for member in members}) != len(members):
        raise ModelFileError(f"{name}: two packed files have one name; get the file again")
    for member in members:
        if member.flag_bits & _ENCRYPTED or member.compress_type not in (0, 8):
            raise ModelFileError(
                f"{name}: packed file {member.filename!r:.{SHOWN}} is encrypted or packed with method "
                f"{member.compress_type}; expected stored or deflated"
            )
        if member.file_size > MAX_MEMBER_BYTES:
            raise ModelFileError(
                f"{name}: packed file {member.filename!r:.{SHOWN}} has {member.file_size} bytes; at most "
                f"{MAX_MEMBER_BYTES} are read"
            )
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        raise ModelFileError(
            f"{name}: the packed files have {total} bytes together; at most {MAX_TOTAL_BYTES} are read"
        )
    return members


def _content(archive: ZipFile, member: ZipInfo, name: str) -> bytes:
    """The member's bytes; never more than it declares are unpacked, whatever its compressed data hold."""
    with archive.open(member) as file:
        content = file.read(member.file_size)
    if len(content) != member.file_size:
        raise ModelFileError(
            f"{name}: packed file {member.filename!r:.{SHOWN}} has {len(content)} bytes instead of "
            f"{member.file_size}; get the file again"
        )
    return content


class _MemoryFile(io.RawIOBase):
    """A read-only file over memory, so that a zip is read where it lies."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._position = 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, target: Any) -> int:
        piece = self._data[self._position : self._position + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
