"""Output pins that follow the announced label, through gpiozero (extra: gpio)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge_effnet.errors import MissingDependencyError, UsageError, first_line
from edge_effnet.live.events import Event

#: GPIO numbers of the 40-pin header (BCM); 0 and 1 are the header's identification.
_PINS = range(2, 28)


def parse_pins(text: str) -> dict[int, str]:
    """GPIO number → label, from "17=cat,27=unknown". Raises UsageError."""
    pins: dict[int, str] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(?:GPIO)?(\d{1,2})\s*=\s*(\S.*?)\s*", part)
        if match is None or int(match[1]) not in _PINS:
            raise UsageError(
                f"pins {text!r}: {part!r}; expected GPIO numbers from {_PINS[0]} to {_PINS[-1]} and labels, like "
                "17=cat,27=dog"
            )
        if int(match[1]) in pins:
            raise UsageError(f"pins {text!r}: GPIO {match[1]} stands there twice; one pin follows one label")
        pins[int(match[1])] = match[2]
    return pins


class GpioSink:
    """A pin is on while its label is announced, and off at the end.

    pins: GPIO number (BCM) → label. Raises MissingDependencyError without gpiozero, UsageError where there are no pins
    or they are taken.
    """

    def __init__(self, pins: Mapping[int, str]) -> None:
        gpiozero = _gpiozero()
        self.name = f"GPIO {', '.join(map(str, pins))}"
        self._outputs: list[tuple[str, Any]] = []
        try:
            for number, label in pins.items():
                self._outputs.append((label, gpiozero.DigitalOutputDevice(number)))
        except Exception as error:  # gpiozero's own tree, and whatever its backends raise
            self.close()
            raise UsageError(
                f"GPIO {number}: {first_line(error)}; expected a Raspberry Pi with python3-lgpio, and a pin that "
                "nothing else uses"
            ) from error

    def send(self, event: Event) -> None:
        """Off first, then on: two labels' pins are never on together."""
        for label, output in self._outputs:
            if label != event.label:
                output.off()
        for label, output in self._outputs:
            if label == event.label:
                output.on()

    def close(self) -> None:
        """All off, and free for others."""
        for _, output in self._outputs:
            output.off()
            output.close()
        self._outputs = []


def _gpiozero() -> Any:
    try:
        import gpiozero
    except ImportError as error:
        raise MissingDependencyError("--gpio needs gpiozero: pip install 'edge-effnet[gpio]'") from error
    return gpiozero
