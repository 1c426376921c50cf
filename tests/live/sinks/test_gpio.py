"""With gpiozero's mock pins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from edge_effnet.errors import MissingDependencyError, UsageError
from edge_effnet.live.events import Event
from edge_effnet.live.sinks.gpio import GpioSink, parse_pins


def event(label: str | None) -> Event:
    return Event(1, label, 1, 0.5, "cat", 1_700_000_000.25, 1.5, 7)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    gpiozero = pytest.importorskip("gpiozero")
    from gpiozero.pins.mock import MockFactory

    mock = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", mock)
    yield mock
    mock.reset()


def test_pins_follow_the_label(factory: Any) -> None:
    sink = GpioSink({17: "cat", 27: "unknown", 22: "cat"})
    pins = [factory.pin(number) for number in (17, 27, 22)]

    def states() -> list[bool]:
        return [bool(pin.state) for pin in pins]

    assert [pin.function for pin in pins] == ["output"] * 3
    assert states() == [False] * 3
    for label, expected in (("cat", [1, 0, 1]), ("unknown", [0, 1, 0]), ("dog", [0] * 3), ("cat", [1, 0, 1])):
        sink.send(event(label))
        assert states() == expected, label
    sink.send(event(None))
    assert states() == [False] * 3
    sink.send(event("cat"))
    sink.close()
    assert states() == [False] * 3, "off at the end"
    GpioSink({17: "cat"}).close()  # free again


@pytest.mark.usefixtures("factory")
def test_a_pin_that_is_taken() -> None:
    first = GpioSink({17: "cat"})
    with pytest.raises(UsageError, match=r"GPIO 17: .* in use"):
        GpioSink({4: "dog", 17: "cat"})
    GpioSink({4: "dog"}).close()  # let go of
    first.close()


def test_a_machine_without_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    gpiozero = pytest.importorskip("gpiozero")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "lgpio")
    with pytest.raises(UsageError, match=r"GPIO 17: .*expected a Raspberry Pi with python3-lgpio"):
        GpioSink({17: "cat"})


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edge-effnet\[gpio\]'"):
        GpioSink({17: "cat"})


def test_pins_as_they_are_said() -> None:
    assert parse_pins("17=cat,27=unknown") == {17: "cat", 27: "unknown"}
    assert parse_pins(" GPIO4 = tiger cat ") == {4: "tiger cat"}
    assert parse_pins("5=a=b") == {5: "a=b"}


@pytest.mark.parametrize("text", ["", "17", "17=", "=cat", "1=cat", "28=cat", "17=cat,17=dog", "x=cat", "17=cat,,"])
def test_pins_that_can_not_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="pins"):
        parse_pins(text)
