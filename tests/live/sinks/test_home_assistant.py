from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.home_assistant import device_of, shown

from edge_effnet.errors import UsageError
from edge_effnet.live.events import Event
from edge_effnet.live.sinks.home_assistant import (
    HomeAssistant,
    device_id,
    discovery_document,
    discovery_topic,
    state_document,
)
from edge_effnet.text import json_text

pytest.importorskip("jinja2")
TRICKY = ['say "cat"', "a\\b", "{{ 1/0 }}", "'}} {% x", "Köln", "\U0001f600 tea", "line\nbreak", "nothing", "\x00"]


def event(label: str | None, score: float | None = 0.5) -> Event:
    return Event(2, label, None if label is None else 1, score, "cat", 1_700_000_000.25, 1.5, 7)


def document(home: HomeAssistant, topic: str = "edge-effnet") -> dict[str, Any]:
    return device_of(
        discovery_topic(home.prefix, topic), json_text(discovery_document(home, topic)), prefix=home.prefix
    )


def test_every_field_is_one_of_home_assistants() -> None:
    home = HomeAssistant("ha/disco", ("cat", *TRICKY), "EfficientNet-Lite0 int8", "http://pi.local:8080/")
    found = document(home, "house/front door")
    assert found["device"]["configuration_url"] == "http://pi.local:8080/"
    assert found["device"]["model"] == "EfficientNet-Lite0 int8"
    platforms = [component["platform"] for component in found["components"].values()]
    assert platforms == ["sensor", "sensor", "image"] + ["binary_sensor"] * (1 + len(TRICKY))
    assert found["availability_topic"] == "house/front door/status"
    assert found["components"]["picture"]["image_topic"] == "house/front door/image"
    plain = document(HomeAssistant())
    assert len(plain["components"]) == 3
    assert "configuration_url" not in plain["device"]


def test_cameras_of_different_topics_are_different_devices() -> None:
    topics = ["edge-effnet", "house/door", "house door", "house_door", "haus/tür"]
    assert len({device_id(topic) for topic in topics}) == len(topics)
    ids = {part["unique_id"] for topic in topics for part in document(HomeAssistant(), topic)["components"].values()}
    assert len(ids) == 3 * len(topics)


@pytest.mark.parametrize("label", TRICKY)
def test_states_as_they_are_shown(label: str) -> None:
    parts = document(HomeAssistant(labels=("cat", label)))["components"]
    cat, own = (part for part in parts.values() if part["platform"] == "binary_sensor")
    payload = json_text(state_document(event(label, 0.61)))
    assert shown(parts["label"], payload) == label
    assert shown(parts["confidence"], payload) == "61.0"
    assert (shown(cat, payload), shown(own, payload)) == ("OFF", "ON")
    for nothing in (state_document(None), state_document(event(None, None))):
        payload = json_text(nothing)
        assert shown(parts["label"], payload) == "nothing"
        assert shown(parts["confidence"], payload) is None
        assert (shown(cat, payload), shown(own, payload)) == ("OFF", "OFF")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_any_label(label: str) -> None:
    """Surrogates never get here: labels are UTF-8."""
    if not label:
        return
    parts = document(HomeAssistant(labels=(label,)))["components"]
    payload = json_text(state_document(event(label)))
    assert shown(parts["label"], payload) == label[:255]
    (own,) = (part for part in parts.values() if part["platform"] == "binary_sensor")
    assert shown(own, payload) == "ON"
    assert shown(own, json_text(state_document(event(label + "x")))) == "OFF"


@pytest.mark.parametrize("prefix", ["", "/", "home assistant", "a/#", "a//b", "+"])
def test_a_prefix_that_can_not_be_published_to(prefix: str) -> None:
    with pytest.raises(UsageError, match="expected letters, digits"):
        HomeAssistant(prefix)


def test_the_state_is_the_events() -> None:
    assert state_document(event("cat")) == {
        key: value
        for key, value in json.loads(json_text(event("cat").to_dict())).items()
        if key in ("label", "score", "previous", "time", "number")
    }
