"""Where `edge-effnet camera` sends its events: the options, and what they open."""

from __future__ import annotations

import argparse
import os

from edge_effnet.classifier import Classifier
from edge_effnet.cli.parsing import goes_with
from edge_effnet.errors import UsageError
from edge_effnet.labels import UNKNOWN, find_label_indices, label_of
from edge_effnet.live.events import EventSink
from edge_effnet.live.sinks import CommandSink, FileSink, GpioSink, HomeAssistant, MqttAddress, MqttSink, SnapshotSink
from edge_effnet.live.sinks.gpio import parse_pins
from edge_effnet.live.sinks.home_assistant import DEFAULT_PREFIX
from edge_effnet.live.sinks.mqtt import remove_discovery


def add_destinations(parser: argparse.ArgumentParser) -> None:
    """The options."""
    group = parser.add_argument_group("events", "where each change goes, besides standard output")
    group.add_argument("--events", metavar="FILE", help="append each event to FILE, one JSON a line")
    group.add_argument("--snapshot", metavar="DIR", help="keep the picture of each event in DIR, its JSON beside it")
    group.add_argument(
        "--command",
        metavar="CMD",
        help="run CMD for each event: JSON on its standard input, EDGE_EFFNET_LABEL in its environment",
    )
    group.add_argument(
        "--gpio",
        type=_pins,
        metavar="PIN=LABEL,…",
        help="a Raspberry Pi's output pins that are on while a label is announced, like 17=cat,27=unknown",
    )
    _add_mqtt(group)


def _add_mqtt(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--mqtt",
        metavar="HOST[:PORT]",
        help="publish each event to this MQTT broker (password: EDGE_EFFNET_MQTT_PASSWORD)",
    )
    goes_with(
        "without --mqtt HOST",
        group.add_argument(
            "--mqtt-topic", default="edge-effnet", metavar="T", help="prefix of the topics (default %(default)s)"
        ),
        group.add_argument("--mqtt-user", metavar="NAME", help="who we are to the broker"),
        group.add_argument("--mqtt-tls", action="store_true", help="encrypt, and check the broker's certificate"),
        group.add_argument(
            "--mqtt-discovery",
            nargs="?",
            const=DEFAULT_PREFIX,
            metavar="PREFIX",
            help="show up in Home Assistant as a device (PREFIX: of its discovery topics, by default homeassistant)",
        ),
        group.add_argument(
            "--mqtt-discovery-remove",
            action="store_true",
            help="take the device out of Home Assistant again, and end",
        ),
    )


def open_sinks(arguments: argparse.Namespace, classifier: Classifier, *, page: str | None) -> list[EventSink]:
    """page: the address of the camera's page where others reach it. Raises UsageError, OutputError or
    MissingDependencyError.
    """
    found: list[EventSink] = []
    if arguments.events:
        found.append(FileSink(arguments.events))
    if arguments.snapshot:
        found.append(SnapshotSink(arguments.snapshot))
    if arguments.command:
        found.append(CommandSink(arguments.command))
    if arguments.gpio:
        _check_labels(arguments, classifier)
        found.append(GpioSink(arguments.gpio))
    if arguments.mqtt:
        found.append(MqttSink(_broker(arguments), home=_home(arguments, classifier, page)))
    return found


def remove_from_home_assistant(arguments: argparse.Namespace) -> None:
    """What --mqtt-discovery-remove does. Raises OutputError."""
    home = HomeAssistant(arguments.mqtt_discovery or DEFAULT_PREFIX)
    remove_discovery(_broker(arguments), home.prefix)


def _broker(arguments: argparse.Namespace) -> MqttAddress:
    return MqttAddress.parse(
        arguments.mqtt,
        topic=arguments.mqtt_topic,
        user=arguments.mqtt_user,
        password=os.environ.get("EDGE_EFFNET_MQTT_PASSWORD"),
        tls=arguments.mqtt_tls,
    )


def _home(arguments: argparse.Namespace, classifier: Classifier, page: str | None) -> HomeAssistant | None:
    if arguments.mqtt_discovery is None:
        return None
    document = classifier.metadata
    model = "" if document is None else f"{document.title} {document.precision}"
    return HomeAssistant(arguments.mqtt_discovery, _allowed(arguments, classifier), model, page)


def _allowed(arguments: argparse.Namespace, classifier: Classifier) -> tuple[str, ...]:
    """The labels of --allow by their names, in their order."""
    if arguments.learn:  # those of networks that are learned later count, too
        return tuple(dict.fromkeys(arguments.allow or ()))
    labels = classifier.answers or [str(index) for index in range(classifier.num_answers)]
    indices = [index for name in arguments.allow or () for index in sorted(find_label_indices([name], labels))]
    return tuple(dict.fromkeys(label_of(index, classifier.answers) for index in indices))


def _check_labels(arguments: argparse.Namespace, classifier: Classifier) -> None:
    """Raises UsageError for a pin whose label is never announced."""
    if arguments.learn:  # any may come
        return
    labels = frozenset(classifier.answers or ()) | {UNKNOWN}
    for number, label in arguments.gpio.items():
        if label not in labels:
            raise UsageError(f"--gpio {number}={label}: the label is not among the model's {classifier.num_classes}")


def _pins(text: str) -> dict[int, str]:
    try:
        return parse_pins(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
