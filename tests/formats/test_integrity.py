"""The SHA-256 of the weights: what it covers in each format, and that every damage to what it covers is told."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import read_model_file, weights_are_verified, with_document
from edge_effnet.formats.integrity import digest
from edge_effnet.formats.onnx import read_onnx
from edge_effnet.formats.protobuf import encoded_field
from edge_effnet.formats.tflite import read_tflite
from edge_effnet.metadata import ONNX_CHECKSUM, ONNX_PROPERTY, ModelDocument

from .conftest import make_document, make_onnx_model, make_tflite
from .mutants import mutations

pytestmark = [pytest.mark.litert, pytest.mark.onnx]


def sealed_onnx() -> bytes:
    """As `emit_onnx` seals: the document behind everything else."""
    model = make_onnx_model()
    del model.metadata_props[:]
    data = bytes(model.SerializeToString())
    return with_document(data, replace(make_document(), weights_sha256=digest([data])))


@pytest.fixture(scope="module", params=["tflite", "onnx"])
def sealed(request: pytest.FixtureRequest) -> bytes:
    return make_tflite("int8") if request.param == "tflite" else sealed_onnx()


def verified(data: bytes) -> bool:
    file = read_model_file(data)
    return weights_are_verified(file.document, file.covered, name="m")


def test_a_sealed_file_fits(sealed: bytes) -> None:
    assert verified(sealed)


def test_the_tflite_digest_is_of_all_bytes_before_the_zip() -> None:
    data = make_tflite("int8")
    document = read_tflite(data).document
    assert document is not None
    assert document.weights_sha256 == hashlib.sha256(data[: data.index(b"PK\x03\x04")]).hexdigest()


def test_the_onnx_digest_is_of_the_file_before_it_got_its_document() -> None:
    model = make_onnx_model()
    del model.metadata_props[:]
    document = read_onnx(sealed_onnx()).document
    assert document is not None
    assert document.weights_sha256 == hashlib.sha256(model.SerializeToString()).hexdigest()


def test_recording_an_accuracy_changes_nothing_about_it(sealed: bytes) -> None:
    document = read_model_file(sealed).document
    assert document is not None
    changed = with_document(sealed, replace(document, accuracy={"top1": 0.5}))
    assert changed != sealed
    assert verified(changed)
    assert with_document(changed, document) == sealed


def test_a_document_of_other_weights_is_not_put_into_a_file(sealed: bytes) -> None:
    """As when the file was replaced while `eval` ran."""
    document = read_model_file(sealed).document
    assert document is not None
    with pytest.raises(
        ModelFileError, match=r"x: its weights have the SHA-256 .{16}…, its document says 0{16}…; the file is damaged"
    ):
        with_document(sealed, replace(document, weights_sha256="0" * 64), name="x")


def test_a_file_without_is_read_but_not_verified(sealed: bytes) -> None:
    assert not verified(with_document(sealed, make_document()))


@pytest.mark.parametrize("damage", ["flip", "mutations"])
def test_no_damage_goes_unnoticed(sealed: bytes, damage: str) -> None:
    """Either an error, or the same document and covered bytes: never other weights or labels."""
    sound = read_model_file(sealed)
    copies = mutations(sealed, 300, seed=4) if damage == "mutations" else []
    for at in range(0, len(sealed), max(1, len(sealed) // 400)) if damage == "flip" else ():
        copy = bytearray(sealed)
        copy[at] ^= 1 << at % 8
        copies.append(bytes(copy))
    told = 0
    for copy in copies:
        try:
            file = read_model_file(copy)
            assert weights_are_verified(file.document, file.covered, name="m")
        except ModelFileError:
            told += 1
            continue
        assert file.document == sound.document
        assert file.labels == sound.labels
        assert b"".join(file.covered) == b"".join(sound.covered)
    assert told > 0.9 * len(copies)


def onnx_with(*properties: tuple[str, str]) -> bytes:
    model = make_onnx_model()
    del model.metadata_props[:]
    return bytes(model.SerializeToString()) + b"".join(
        encoded_field(14, encoded_field(1, key.encode()) + encoded_field(2, value.encode()))
        for key, value in properties
    )


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            [(ONNX_PROPERTY, make_document().to_json()), (ONNX_CHECKSUM, "0" * 64)],
            "its document 'edge_effnet' is damaged, as 'edge_effnet_sha256' shows",
        ),
        ([(ONNX_PROPERTY, make_document().to_json()), (ONNX_CHECKSUM, "")], "is damaged"),
        ([(ONNX_CHECKSUM, "0" * 64)], "its document 'edge_effnet' is missing"),
    ],
)
def test_the_onnx_documents_own_checksum(properties: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_onnx(onnx_with(*properties))


def test_a_document_without_its_checksum_is_read() -> None:
    assert read_onnx(onnx_with((ONNX_PROPERTY, make_document().to_json()))).document == make_document()


@pytest.mark.parametrize("value", ["abc", "G" * 64, "A" * 64, 5, "0" * 65, ["0" * 64]])
def test_a_digest_that_is_none(value: Any) -> None:
    text = (
        make_document()
        .to_json()
        .replace(
            '{"accuracy"',
            f'{{"weights_sha256":{str(value) if isinstance(value, int) else chr(34) + str(value) + chr(34)},"accuracy"',
        )
    )
    with pytest.raises(ModelFileError, match=r"has weights_sha256 = .*; expected (64 hexadecimal digits|str or null)"):
        ModelDocument.from_json(text)


def test_null_means_none() -> None:
    text = make_document().to_json().replace('{"accuracy"', '{"weights_sha256":null,"accuracy"')
    assert ModelDocument.from_json(text) == make_document()
