"""Where events go, one file a kind."""

from edge_effnet.live.sinks.command import CommandSink
from edge_effnet.live.sinks.file import FileSink
from edge_effnet.live.sinks.mqtt import MqttAddress, MqttSink

__all__ = ["CommandSink", "FileSink", "MqttAddress", "MqttSink"]
