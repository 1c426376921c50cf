"""What Home Assistant is told over MQTT: one retained document, by which it makes a device with its entities.

Device discovery, since Home Assistant 2024.12 (home-assistant.io/integrations/mqtt, "Device discovery messages"; the
keys are those of DEVICE_DISCOVERY_SCHEMA and of each platform's DISCOVERY_SCHEMA in homeassistant/components/mqtt).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_effnet.errors import UsageError
from edge_effnet.live.events import Event
from edge_effnet.text import json_text, printable
from edge_effnet.version import __version__

#: Where Home Assistant listens unless it was told otherwise.
DEFAULT_PREFIX = "homeassistant"
#: States longer than this are refused by it (MAX_LENGTH_STATE_STATE).
_LONGEST_STATE = 255
_ID = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True)
class HomeAssistant:
    """What a camera says of itself. prefix: of Home Assistant's discovery topics. labels: those that get a binary
    sensor each. model: the network. page: the address of the camera's page, where others reach it.

    Raises UsageError for a prefix that can't be published to.
    """

    prefix: str = DEFAULT_PREFIX
    labels: tuple[str, ...] = ()
    model: str = ""
    page: str | None = None

    def __post_init__(self) -> None:
        if not all(_ID.fullmatch(part) for part in self.prefix.split("/")):
            raise UsageError(
                f"discovery prefix {self.prefix!r}; expected letters, digits, _, - and /, as in Home Assistant's MQTT "
                f"options ({DEFAULT_PREFIX} unless it was changed there)"
            )


def device_id(topic: str) -> str:
    """An identifier of [a-zA-Z0-9_-] for a camera's topic prefix; different prefixes have different ones."""
    if _ID.fullmatch(topic):
        return topic
    return f"{re.sub(r'[^a-zA-Z0-9_-]+', '_', topic)}_{_digest(topic)[:8]}"


def discovery_topic(prefix: str, topic: str) -> str:
    """Where the document goes. prefix: Home Assistant's, topic: the camera's."""
    return f"{prefix}/device/{device_id(topic)}/config"


def discovery_document(home: HomeAssistant, topic: str) -> dict[str, Any]:
    """The document of the camera whose topics begin with `topic`."""
    own = device_id(topic)
    device = {
        "identifiers": [own],
        "name": "Camera" if topic == "edge-effnet" else topic.rsplit("/", 1)[-1],
        "manufacturer": "edge-effnet",
        "model": home.model or "EfficientNet",
        "sw_version": __version__,
    }
    if home.page is not None:
        device["configuration_url"] = home.page
    components = {"label": _label(topic), "confidence": _confidence(topic), "picture": _picture(topic)}
    components |= {f"is_{_digest(label)[:12]}": _is_label(topic, label) for label in home.labels}
    return {
        "device": device,
        "origin": {"name": "edge-effnet", "sw_version": __version__},
        "availability_topic": f"{topic}/status",
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "components": {key: {**facts, "unique_id": f"{own}_{key}"} for key, facts in components.items()},
    }


def state_document(event: Event | None) -> dict[str, Any]:
    """What the entities' states are read from; None before the first event."""
    if event is None:
        return {"label": None, "score": None, "previous": None, "time": None}
    found: Mapping[str, Any] = event.to_dict()
    return {name: found[name] for name in ("label", "score", "previous", "time", "number")}


def _label(topic: str) -> dict[str, Any]:
    return {
        "platform": "sensor",
        "name": "Label",
        "icon": "mdi:eye",
        "state_topic": f"{topic}/state",
        "value_template": f"{{{{ (value_json.label or 'nothing')[:{_LONGEST_STATE}] }}}}",
        "json_attributes_topic": f"{topic}/state",
    }


def _confidence(topic: str) -> dict[str, Any]:
    """Unknown ("None" is what it takes for that) where nothing is announced."""
    return {
        "platform": "sensor",
        "name": "Confidence",
        "icon": "mdi:percent",
        "state_topic": f"{topic}/state",
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "suggested_display_precision": 0,
        "value_template": "{{ 'None' if value_json.score is none else (100 * value_json.score) | round(1) }}",
    }


def _picture(topic: str) -> dict[str, Any]:
    return {
        "platform": "image",
        "name": "Last change",
        "image_topic": f"{topic}/image",
        "content_type": "image/jpeg",
    }


def _is_label(topic: str, label: str) -> dict[str, Any]:
    """The label stands in the template as a literal: JSON's escapes are Jinja's, too."""
    literal = json_text(label)
    return {
        "platform": "binary_sensor",
        "name": printable(label, most=100),
        "state_topic": f"{topic}/state",
        "payload_on": "ON",
        "payload_off": "OFF",
        "value_template": f"{{{{ 'ON' if value_json.label == {literal} else 'OFF' }}}}",
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
