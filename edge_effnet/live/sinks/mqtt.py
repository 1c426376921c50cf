"""Events to an MQTT broker, through paho-mqtt (extra: mqtt).

Topics below the prefix: `event` (each event, QoS 1), `label` (what is announced now, retained, empty for nothing),
`status` (`online`, or `offline` when the connection is gone; retained). With Home Assistant's discovery also `state`
(JSON of what is announced) and `image` (the JPEG of the last event), both retained. While the broker is away events
wait, 1,000 at most, and are sent when it returns; nobody waits for it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import Any

from edge_effnet.errors import MissingDependencyError, OutputError, UsageError
from edge_effnet.live.events import Event
from edge_effnet.live.sinks.home_assistant import (
    HomeAssistant,
    discovery_document,
    discovery_topic,
    state_document,
)
from edge_effnet.text import json_text

_LOG = logging.getLogger("edge_effnet.live")
_QUEUE = 1000
_PORT, _TLS_PORT = 1883, 8883
_KEEP_ALIVE_S = 30
_LAST_WORDS_S = 2.0
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class MqttAddress:
    """Where the broker is and who we are to it. Raises UsageError for a topic that can't be published to."""

    host: str
    port: int = _PORT
    topic: str = "edge-effnet"
    user: str | None = None
    password: str | None = None
    tls: bool = False

    def __post_init__(self) -> None:
        if not self.topic or re.search(r"[+#\0]", self.topic) or self.topic.startswith("/") or self.topic.endswith("/"):
            raise UsageError(
                f"MQTT topic {self.topic!r}; expected a name without + and #, not beginning or ending with /"
            )
        if self.password is not None and self.user is None:
            raise UsageError("an MQTT password needs a user; say --mqtt-user")

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        topic: str = "edge-effnet",
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
    ) -> MqttAddress:
        """From HOST or HOST:PORT ([…] around an IPv6 address); raises UsageError."""
        match = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^:\s\[\]/]+)(?::(\d{1,5}))?", text)
        if match is None or not 0 < int(match[2] or 1) < 65536:
            raise UsageError(f"MQTT broker {text!r}; expected HOST or HOST:PORT")
        port = int(match[2]) if match[2] else _TLS_PORT if tls else _PORT
        return cls(match[1].strip("[]"), port, topic, user, password, tls)


class MqttSink:
    """Connects in the background and stays connected. longest_delay_s: between two tries to reach the broker. home:
    what Home Assistant is told, so that it shows the camera as a device.

    Raises MissingDependencyError without paho-mqtt; `send` raises OutputError when more than 1,000 events wait.
    """

    def __init__(self, address: MqttAddress, *, longest_delay_s: int = 30, home: HomeAssistant | None = None) -> None:
        self._mqtt = _paho()
        self._address, self._home = address, home
        self.wants_pictures = home is not None
        self._last: Event | None = None
        self.name = f"MQTT {address.host}:{address.port}"
        self._client = _client(self._mqtt, address)
        self._client.max_queued_messages_set(_QUEUE)
        self._client.reconnect_delay_set(1, longest_delay_s)
        self._client.will_set(f"{address.topic}/status", "offline", qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreachable
        self._client.on_disconnect = self._lost
        self._client.on_publish = self._arrived
        self._handed_over = self._acknowledged = 0
        self._pending: dict[int, tuple[Event | None, float]] = {}
        self._early: set[int] = set()
        self._changed = threading.Condition()
        self._away_said = False
        self._client.connect_async(address.host, address.port, keepalive=_KEEP_ALIVE_S)
        self._client.loop_start()

    @property
    def problem(self) -> str | None:
        """That the broker is away; nothing is lost by that yet."""
        if self._client.is_connected():
            return None
        return f"the broker is away; {max(self._handed_over - self._acknowledged, 0)} messages wait for it"

    def pending(self) -> list[Event]:
        """Events that the broker hasn't acknowledged."""
        with self._changed:
            return [event for event, _ in self._pending.values() if event is not None]

    @property
    def waiting_since(self) -> float | None:
        """Since when the oldest of them waits."""
        with self._changed:
            return min((since for event, since in self._pending.values() if event is not None), default=None)

    def send(self, event: Event) -> None:
        """Queues the event and the announced label; while the broker is away Home Assistant's part waits for its
        return, and is then that of the last event.
        """
        self._last = event
        self._publish("event", json_text(event.to_dict()), retain=False, event=event.bare)
        self._publish("label", event.label or "", retain=True)
        if self._home is not None and self._client.is_connected():
            self._publish_state(event)

    def close(self) -> None:
        """Waits two seconds for what is under way, or for a broker that is away, says goodbye and disconnects."""
        with self._changed:
            self._changed.wait_for(lambda: all(event is None for event, _ in self._pending.values()), _LAST_WORDS_S)
        if self._client.is_connected():
            self._publish("status", "offline", retain=True)
            with self._changed:
                self._changed.wait_for(lambda: not self._pending, _LAST_WORDS_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish_state(self, event: Event | None) -> None:
        self._publish("state", json_text(state_document(event)), retain=True)
        if event is not None and event.picture is not None:
            self._publish("image", event.picture, retain=True)

    def _introduce(self, home: HomeAssistant) -> None:
        """Tells Home Assistant what there is, and how it stands."""
        document = json_text(discovery_document(home, self._address.topic))
        self._publish_at(discovery_topic(home.prefix, self._address.topic), document, retain=True)
        self._publish_state(self._last)

    def _publish(self, name: str, payload: str | bytes, *, retain: bool, event: Event | None = None) -> None:
        self._publish_at(f"{self._address.topic}/{name}", payload, retain=retain, event=event)

    def _publish_at(self, topic: str, payload: str | bytes, *, retain: bool, event: Event | None = None) -> None:
        message = self._client.publish(topic, payload, qos=1, retain=retain)
        if message.rc == self._mqtt.MQTT_ERR_QUEUE_SIZE:
            raise OutputError(f"the broker is away and {_QUEUE} messages wait for it")
        with self._changed:  # not around publish: the client calls _arrived with a lock of its own held
            self._handed_over += 1
            if message.mid in self._early:
                self._early.discard(message.mid)
            else:
                self._pending[message.mid] = (event, time.monotonic())

    def _connected(self, _client: object, _userdata: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._say_away(f"refuses us: {reason}")
            return
        if self._away_said:
            _LOG.warning("%s is back", self.name)
        self._away_said = False
        if self._home is not None:
            self._introduce(self._home)
        self._publish("status", "online", retain=True)

    def _unreachable(self, _client: object, _userdata: object) -> None:
        self._say_away("can't be reached")

    def _lost(self, _client: object, _userdata: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._say_away(f"is gone ({reason})")

    def _say_away(self, what: str) -> None:
        if not self._away_said:
            _LOG.warning("%s %s; events wait until it is back", self.name, what)
        self._away_said = True

    def _arrived(self, _client: object, _userdata: object, mid: int, _reason: object, _properties: object) -> None:
        with self._changed:
            self._acknowledged += 1
            if self._pending.pop(mid, None) is None:
                self._early.add(mid)  # faster than `publish` returned
            self._changed.notify_all()


def remove_discovery(address: MqttAddress, prefix: str, *, patience_s: float = _PATIENCE_S) -> None:
    """Takes what Home Assistant was told back from the broker: the device is gone there.

    Raises OutputError when the broker can't be reached or doesn't take it, MissingDependencyError without paho-mqtt.
    """
    mqtt = _paho()
    client = _client(mqtt, address)
    refusals: list[Any] = []
    client.on_connect = lambda *about: refusals.append(about[3]) if about[3].is_failure else None
    try:
        client.connect(address.host, address.port, keepalive=_KEEP_ALIVE_S)
        client.loop_start()
        topics = [discovery_topic(prefix, address.topic), f"{address.topic}/state", f"{address.topic}/image"]
        for message in [client.publish(topic, b"", qos=1, retain=True) for topic in topics]:
            message.wait_for_publish(patience_s)
            if not message.is_published():
                why = f"refuses us: {refusals[0]}" if refusals else f"didn't take it within {patience_s:g} s"
                raise OutputError(f"MQTT {address.host}:{address.port} {why}")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"MQTT {address.host}:{address.port} can't be reached: {error}") from error
    finally:
        client.disconnect()
        client.loop_stop()


def _client(mqtt: Any, address: MqttAddress) -> Any:
    """Not connected yet."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        client.tls_set()
    return client


def _paho() -> Any:
    """The module paho.mqtt.client; raises MissingDependencyError naming the extra."""
    try:
        from paho.mqtt import client
    except ImportError as error:
        raise MissingDependencyError("--mqtt needs paho-mqtt: pip install 'edge-effnet[mqtt]'") from error
    return client
