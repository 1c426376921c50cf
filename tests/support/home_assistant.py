"""What Home Assistant's MQTT integration accepts, by its source, and what it would show.

From homeassistant/components/mqtt of github.com/home-assistant/core (schemas.py, discovery.py, sensor.py,
binary_sensor.py, image.py, config.py and const.py, December 2024 and later): keys and kinds of values, rewritten as
tables. A device's schemas allow no other keys; a platform's remove them, so they would go unnoticed there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]

_TOPIC_MATCHER = re.compile(r"(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config")


def text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def topic(value: Any) -> bool:
    return text(value) and len(value.encode()) <= 65535 and not re.search("[+#\0-\x1f\x7f-\x9f]", value)


def address(value: Any) -> bool:
    return bool(re.fullmatch(r"https?://[^/\s]+.*", value))


def texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(text, value))


def number(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def one_of(*values: Any) -> Check:
    return lambda value: value in values


def template(value: Any) -> bool:
    jinja2 = __import__("jinja2")
    jinja2.Environment().parse(value)
    return text(value)


AVAILABILITY: dict[str, Check] = {
    "availability_topic": topic,
    "availability_template": template,
    "payload_available": text,
    "payload_not_available": text,
}
DEVICE: dict[str, Check] = {
    "identifiers": texts,
    **dict.fromkeys(("manufacturer", "model", "model_id", "name", "hw_version", "serial_number", "sw_version"), text),
    **dict.fromkeys(("via_device", "suggested_area"), text),
    "configuration_url": address,
}
ORIGIN: dict[str, Check] = {"name": text, "sw_version": text, "support_url": address}
DOCUMENT: dict[str, Check] = {
    **AVAILABILITY,
    "device": lambda value: fits(value, DEVICE, required={"identifiers"}),
    "origin": lambda value: fits(value, ORIGIN, required={"name"}),
    "components": lambda value: all(map(fits_component, value.values())),
    "state_topic": topic,
    "command_topic": topic,
    "qos": one_of(0, 1, 2),
    "encoding": text,
}
ENTITY: dict[str, Check] = {
    **AVAILABILITY,
    "enabled_by_default": one_of(True, False),
    "entity_category": one_of("config", "diagnostic", None),
    "icon": lambda value: bool(re.fullmatch("mdi:[a-z0-9-]+", value)),
    "json_attributes_topic": topic,
    "json_attributes_template": template,
    "object_id": text,
    "unique_id": text,
    "name": lambda value: value is None or text(value),
    "platform": one_of("sensor", "binary_sensor", "image"),
}
READ_ONLY: dict[str, Check] = {
    "state_topic": topic,
    "value_template": template,
    "qos": one_of(0, 1, 2),
    "encoding": text,
}
PLATFORMS: dict[str, tuple[dict[str, Check], set[str]]] = {
    "sensor": (
        {
            "expire_after": number,
            "force_update": one_of(True, False),
            "suggested_display_precision": number,
            "state_class": one_of("measurement", "total", "total_increasing", None),
            "unit_of_measurement": lambda value: value is None or text(value),
            **READ_ONLY,
        },
        {"state_topic"},
    ),
    "binary_sensor": (
        {
            "expire_after": number,
            "force_update": one_of(True, False),
            "off_delay": number,
            "payload_on": text,
            "payload_off": text,
            **READ_ONLY,
        },
        {"state_topic"},
    ),
    "image": (
        {"content_type": text, "image_topic": topic, "image_encoding": one_of("b64"), "qos": one_of(0, 1, 2)},
        {"image_topic"},
    ),
}


def fits(value: dict[str, Any], schema: dict[str, Check], *, required: set[str]) -> bool:
    """Every field is known there and is what it has to be, and what must be said is."""
    assert required <= value.keys(), f"{required - value.keys()} missing"
    for key, said in value.items():
        assert key in schema, f"{key} is no field there"
        assert schema[key](said), f"{key}: {said!r}"
    return True


def fits_component(value: dict[str, Any]) -> bool:
    own, required = PLATFORMS[value["platform"]]
    return fits(value, {**ENTITY, **own}, required={"platform", "unique_id", *required})


def device_of(discovery_topic: str, payload: str, *, prefix: str = "homeassistant") -> dict[str, Any]:
    """The document, which its topic and every field of it let pass."""
    match = _TOPIC_MATCHER.fullmatch(discovery_topic.removeprefix(f"{prefix}/"))
    assert match is not None
    assert (match["component"], match["node_id"]) == ("device", None)
    found = json.loads(payload)
    assert fits(found, DOCUMENT, required={"device", "origin", "components"})
    ids = [component["unique_id"] for component in found["components"].values()]
    assert len(set(ids)) == len(ids)
    return dict(found)


def shown(component: dict[str, Any], payload: str) -> str | None:
    """The entity's state: the template rendered with the topic's JSON; None where it would say "unknown"."""
    jinja2 = __import__("jinja2")
    found = jinja2.Environment().from_string(component["value_template"]).render(value_json=json.loads(payload))
    return None if found == "None" else str(found)
