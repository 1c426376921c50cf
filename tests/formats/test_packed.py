from __future__ import annotations

import io
import json
import struct
import zipfile

import pytest

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.formats.packed import LABELS_NAME, PackedFiles, packed_files, parse_document, read_packed
from edge_effnet.metadata import DOCUMENT_NAME

from .conftest import make_document

_FRONT = b"model" * 20


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def _read(packed: bytes, end: int = len(_FRONT)) -> PackedFiles:
    return read_packed(memoryview(_FRONT + packed), name="m", flatbuffer_end=end)


def test_what_is_written_is_read_back() -> None:
    packed = _read(packed_files(make_document()))
    assert packed.start == len(_FRONT)
    assert packed.document("m") == make_document()
    assert packed.labels() == make_document().labels


def test_the_bytes_are_those_of_the_zip_the_exporter_always_made() -> None:
    files = {DOCUMENT_NAME: make_document().to_json(), LABELS_NAME: "cat\ndog\nKöln\na b\nz\n"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text.encode("utf-8"))
    assert packed_files(make_document()) == buffer.getvalue()
    assert list(_read(packed_files(make_document(labels=None))).files) == [DOCUMENT_NAME]


def test_other_members_are_added_once() -> None:
    packed = _read(packed_files(make_document(), {"notes.md": b"x", LABELS_NAME: b"old", DOCUMENT_NAME: b"old"}))
    assert list(packed.files) == [DOCUMENT_NAME, LABELS_NAME, "notes.md"]
    assert packed.document("m") == make_document()


def test_text_without_unicode_form_is_refused_on_writing() -> None:
    with pytest.raises(UsageError, match="isn't valid Unicode"):
        packed_files(make_document(labels=("a", "b", "\ud800", "d", "e")))


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        ({}, None),
        ({"labelmap.txt": b"\xef\xbb\xbfa\r\n\r\nc\r\n\n"}, ("a", "", "c")),
        ({"x.bin": b"", "A.TXT": b"one", "b.txt": b"two"}, ("one",)),
        ({"a.txt": b"one", LABELS_NAME: b"two"}, ("two",)),
        ({LABELS_NAME: b"caf\xe9"}, ("caf�",)),
    ],
)
def test_labels_of_other_makers(files: dict[str, bytes], labels: tuple[str, ...] | None) -> None:
    packed = _read(_zip(files, zipfile.ZIP_DEFLATED))
    assert packed.labels() == labels
    assert packed.document("m") is None


def test_offsets_counted_from_the_files_beginning() -> None:
    buffer = io.BytesIO(_FRONT)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), "x")
    packed = _read(buffer.getvalue()[len(_FRONT) :])
    assert (packed.start, packed.labels()) == (len(_FRONT), ("x",))


def test_no_zip() -> None:
    assert _read(b"") == PackedFiles({}, len(_FRONT))
    assert _read(b"PK\x05\x06 and more than an end record's bytes").files == {}


def _with_end(**changed: int) -> bytes:
    fields = {"count": 1, "size": 0, "offset": 0} | changed
    return struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, fields["count"], fields["count"], fields["size"], fields["offset"], 0
    )


def _bomb() -> bytes:
    """A member that declares one byte and unpacks to 64 MB."""
    packed = bytearray(_zip({"a.txt": bytes(64 << 20)}, zipfile.ZIP_DEFLATED))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = packed.rfind(signature)
        packed[at + place : at + place + 4] = struct.pack("<I", 1)
    return bytes(packed)


def _miscounted() -> bytes:
    packed = bytearray(_zip({f"{n}": b"" for n in range(17)}))
    packed[-14:-10] = struct.pack("<2H", 1, 1)
    return bytes(packed)


def _flagged(flags: int) -> bytes:
    packed = bytearray(_zip({"a.txt": b"x"}))
    packed[packed.rfind(b"PK\x01\x02") + 8] = flags
    return bytes(packed)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (_zip({"a.txt": b"x"})[:-30], "cut off; get the file again"),
        (_zip({f"{n}": b"" for n in range(17)}), "17 packed files in a directory"),
        (_with_end(size=1 << 20), "in a directory of 1048576 bytes; at most 16 small files are read"),
        (_with_end(size=5000), "are broken"),
        (_zip({"a": bytes((4 << 20) + 1)}, zipfile.ZIP_DEFLATED), "'a' has 4194305 bytes; at most 4194304 are read"),
        (
            _zip({n: bytes(3 << 20) for n in "abc"}, zipfile.ZIP_DEFLATED),
            "have 9437184 bytes together; at most 8388608",
        ),
        (_zip({"a": b"x"}, zipfile.ZIP_LZMA), "encrypted or packed with method 14"),
        (_flagged(1), "'a.txt' is encrypted"),
        (_bomb(), "are broken"),
        (_miscounted(), "17 packed files; at most 16 are read"),
        (b"PK\x06\x07" + bytes(16) + _with_end(), "are a zip64 archive"),
    ],
)
def test_bad_zips(packed: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        _read(packed)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "1")
        archive.writestr("a.txt", "2")
    with pytest.raises(ModelFileError, match="two packed files have one name"):
        _read(buffer.getvalue())


def test_a_member_shorter_than_it_says() -> None:
    packed = bytearray(_zip({"a.txt": b"xyz"}, zipfile.ZIP_DEFLATED))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = packed.rfind(signature)
        packed[at + place : at + place + 4] = struct.pack("<I", 9)
    with pytest.raises(ModelFileError, match=r"'a\.txt' has 3 bytes instead of 9"):
        _read(bytes(packed))


def test_a_zip_that_begins_inside_the_model() -> None:
    with pytest.raises(ModelFileError, match="begin at byte 100, inside the model that ends at byte 101"):
        _read(_zip({"a.txt": b"x"}), end=101)


def test_a_member_that_fails_its_checksum() -> None:
    packed = bytearray(_zip({"a.txt": b"content"}))
    packed[packed.find(b"content")] ^= 1
    with pytest.raises(ModelFileError, match="are broken"):
        _read(bytes(packed))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("resize", "1e999", "1e999 is beyond what a float64 holds"),
        ("variant", r'"\ud800"', "holds a value that can't be meant"),
    ],
)
def test_documents_with_values_that_cannot_be_meant(key: str, value: str, message: str) -> None:
    content = make_document().to_dict()
    (content["preprocessing"] if key == "resize" else content)[key] = "HERE"
    text = json.dumps(content).replace('"HERE"', value).encode()
    with pytest.raises(ModelFileError, match=message):
        parse_document(text, name="m")
