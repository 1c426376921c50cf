"""Where events go, one file a kind."""

from edge_effnet.live.sinks.command import CommandSink
from edge_effnet.live.sinks.file import FileSink
from edge_effnet.live.sinks.gpio import GpioSink
from edge_effnet.live.sinks.home_assistant import HomeAssistant
from edge_effnet.live.sinks.mqtt import MqttAddress, MqttSink
from edge_effnet.live.sinks.snapshot import SnapshotSink

__all__ = ["CommandSink", "FileSink", "GpioSink", "HomeAssistant", "MqttAddress", "MqttSink", "SnapshotSink"]
