"""With a real broker: Mosquitto."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.chromium import eventually, required_program
from support.home_assistant import device_of, shown

from edge_effnet.errors import MissingDependencyError, OutputError, UsageError
from edge_effnet.live.delivery import SinkRunner
from edge_effnet.live.events import Event
from edge_effnet.live.sinks import HomeAssistant, MqttAddress, MqttSink
from edge_effnet.live.sinks import mqtt as mqtt_module
from edge_effnet.live.sinks.mqtt import remove_discovery


def event(number: int, label: str | None = "Köln") -> Event:
    return Event(number, label, 1, 0.5, "cat", 1_700_000_000.25, 1.5, 7)


class Broker:
    """A Mosquitto on a port of its own, which keeps its messages over a restart as an installed one does."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        self._program = required_program("mosquitto")
        self._configuration = folder / "mosquitto.conf"
        self.memory = folder / "mosquitto.db"
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._answers, what="Mosquitto")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.kill()


class Listener:
    """A subscriber of its own. name: the broker keeps for it what comes while it is away."""

    def __init__(self, port: int, topic: str = "#", *, name: str = "") -> None:
        mqtt = pytest.importorskip("paho.mqtt.client")
        self.messages: queue.Queue[tuple[str, str, bool]] = queue.Queue()
        self.subscribed: queue.Queue[None] = queue.Queue()
        self._client: Any = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, clean_session=not name)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self.subscribed.put(None)
        self._client.on_message = lambda _client, _data, message: self.messages.put(
            (message.topic, message.payload.decode(), bool(message.retain))
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.subscribed.get(timeout=60)

    def next(self) -> tuple[str, str, bool]:
        return self.messages.get(timeout=60)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_topics_and_payloads(broker: Broker) -> None:
    listener = Listener(broker.port)
    sink = MqttSink(MqttAddress("127.0.0.1", broker.port, "house/door"))
    assert listener.next() == ("house/door/status", "online", False)
    assert sink.problem is None
    sink.send(event(1))
    topic, payload, _ = listener.next()
    assert (topic, json.loads(payload)) == ("house/door/event", event(1).to_dict())
    assert listener.next() == ("house/door/label", "Köln", False)
    late = Listener(broker.port)
    assert {late.next(), late.next()} == {
        ("house/door/label", "Köln", True),
        ("house/door/status", "online", True),
    }  # kept for who comes late
    late.close()
    sink.send(event(2, None))
    assert json.loads(listener.next()[1])["label"] is None
    assert listener.next() == ("house/door/label", "", False)
    sink.close()
    assert listener.next() == ("house/door/status", "offline", False)
    listener.close()


def test_a_broker_that_is_killed_and_restarted_loses_no_event(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    sink = MqttSink(MqttAddress("127.0.0.1", broker.port), longest_delay_s=1)
    listener = Listener(broker.port, "edge-effnet/event", name="listener")
    sink.send(event(1))
    numbers = [json.loads(listener.next()[1])["number"]]
    eventually(
        lambda: broker.memory.exists() and b"listener" in broker.memory.read_bytes(),
        what="the broker remembers its subscriber",
    )
    eventually(lambda: sink._acknowledged == 3, what="the broker has taken what was sent")
    broker.kill()
    eventually(lambda: sink.problem, what="the sink notices that the broker is gone")
    for number in (2, 3, 4):
        sink.send(event(number))  # returns at once: nobody waits for the broker
    assert sink.problem == "the broker is away; 6 messages wait for it"
    broker.start()
    while numbers[-1] < 4:
        numbers.append(json.loads(listener.next()[1])["number"])
    sink.send(event(5))
    while numbers[-1] < 5:
        numbers.append(json.loads(listener.next()[1])["number"])
    assert list(dict.fromkeys(numbers)) == [1, 2, 3, 4, 5]  # QoS 1: each at least once, in order
    assert sink.problem is None
    sink.close()
    listener.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "is gone" in said[0]
    assert said[1] == f"MQTT 127.0.0.1:{broker.port} is back"


def test_a_broker_that_comes_later(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    sink = MqttSink(MqttAddress("127.0.0.1", broker.port), longest_delay_s=1)
    sink.send(event(1))
    broker.start()
    eventually(lambda: sink.problem is None)
    listener = Listener(broker.port)
    found = {listener.next()[0] for _ in range(2)}
    assert found == {"edge-effnet/label", "edge-effnet/status"}
    sink.close()
    listener.close()
    broker.kill()


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edge-effnet\[mqtt\]'"):
        MqttSink(MqttAddress("127.0.0.1"))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("broker.local", "broker.local", 1883),
        ("10.0.0.7:1884", "10.0.0.7", 1884),
        ("[::1]:1883", "::1", 1883),
        ("[::1]", "::1", 1883),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = MqttAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert MqttAddress.parse("broker", tls=True).port == 8883


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("broker:99999", {}, "expected HOST or HOST:PORT"),
        ("mqtt://broker", {}, "expected HOST or HOST:PORT"),
        ("", {}, "expected HOST or HOST:PORT"),
        ("broker", {"topic": "house/#"}, "expected a name without \\+ and #"),
        ("broker", {"topic": ""}, "expected a name"),
        ("broker", {"password": "x"}, "an MQTT password needs a user"),
    ],
)
def test_addresses_that_cannot_be_meant(text: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MqttAddress.parse(text, **options)  # type: ignore[arg-type]


def test_what_waits_for_a_broker_that_stays_away_is_undelivered(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt")
    monkeypatch.setattr(mqtt_module, "_LAST_WORDS_S", 0.1)
    runner = SinkRunner(MqttSink(MqttAddress("127.0.0.1", 9)))
    runner.put(event(1))
    runner.put(event(2))
    eventually(lambda: runner.state.waiting == 2 and runner.state.sent == 0 and runner.state.problem)
    assert (runner.state.waiting_s or 0) >= 0
    found = runner.close()
    assert (found.count, [left.number for left in found.events]) == (2, [1, 2])


def read(listener: Listener, count: int) -> dict[str, tuple[bytes, bool]]:
    """topic → (payload, retained) of the next messages."""
    found = {}
    for _ in range(count):
        topic, payload, retained = listener.next()
        found[topic] = (payload.encode("latin-1") if topic.endswith("image") else payload.encode(), retained)
    return found


def test_home_assistant_finds_the_camera_and_loses_it_again(broker: Broker) -> None:
    """What a Home Assistant that starts later reads from the broker, by its own rules."""
    pytest.importorskip("jinja2")
    home = HomeAssistant(labels=("Köln", "cat"))
    sink = MqttSink(MqttAddress("127.0.0.1", broker.port, "house/door"), home=home)
    sink.send(replace(event(1), picture=b"JPEG"))
    eventually(lambda: not sink.pending() and sink._acknowledged == sink._handed_over)
    late = Listener(broker.port)
    found = read(late, 5)
    assert all(retained for _, retained in found.values())
    (config,) = (topic for topic in found if topic.startswith("homeassistant/"))
    parts = device_of(config, found[config][0].decode())["components"]
    state = found["house/door/state"][0].decode()
    assert shown(parts["label"], state) == "Köln"
    assert [shown(part, state) for part in parts.values() if part["platform"] == "binary_sensor"] == ["ON", "OFF"]
    assert found["house/door/image"][0] == b"JPEG"
    assert found["house/door/status"][0] == b"online"
    sink.close()
    assert late.next() == ("house/door/status", "offline", False)
    remove_discovery(MqttAddress("127.0.0.1", broker.port, "house/door"), "homeassistant")
    gone = read(late, 3)
    assert gone == dict.fromkeys((config, "house/door/state", "house/door/image"), (b"", False))
    late.close()
    later = Listener(broker.port)
    assert set(read(later, 2)) == {"house/door/label", "house/door/status"}
    later.close()


def test_home_assistants_part_is_that_of_the_last_event_when_the_broker_returns(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    sink = MqttSink(MqttAddress("127.0.0.1", broker.port), longest_delay_s=1, home=HomeAssistant())
    for number in (1, 2):
        sink.send(replace(event(number, f"label {number}"), picture=f"JPEG {number}".encode()))
    broker.start()
    eventually(lambda: sink.problem is None and sink._acknowledged == sink._handed_over)
    listener = Listener(broker.port)
    found = read(listener, 5)
    assert json.loads(found["edge-effnet/state"][0])["label"] == "label 2"
    assert found["edge-effnet/image"][0] == b"JPEG 2"
    sink.close()
    listener.close()
    broker.kill()


def test_removing_says_what_is_wrong() -> None:
    pytest.importorskip("paho.mqtt")
    with pytest.raises(OutputError, match=r"MQTT 127\.0\.0\.1:9 can't be reached"):
        remove_discovery(MqttAddress("127.0.0.1", 9), "homeassistant")
