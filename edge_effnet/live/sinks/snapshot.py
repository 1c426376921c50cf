"""The picture of each event, in a folder."""

from __future__ import annotations

from pathlib import Path

from edge_effnet.errors import OutputError
from edge_effnet.live.events import Event
from edge_effnet.live.keeping import open_folder_for_pictures, save_picture


class SnapshotSink:
    """Writes each event's frame as JPEG, and the event's JSON beside it, both whole or not at all.

    Raises OutputError for a folder that can't be used; `send` raises it when the disk has less than 200 MB left.
    """

    wants_pictures = True

    def __init__(self, folder: str | Path) -> None:
        self._folder = open_folder_for_pictures(Path(folder))
        self.name = f"snapshots in {folder}"

    def send(self, event: Event) -> None:
        """Keeps picture and event."""
        if event.picture is None:
            raise OutputError("the event came without a picture: none was there, or too many events waited")
        save_picture(self._folder, event.picture, event.to_dict(), timestamp=event.timestamp)

    def close(self) -> None:
        """Nothing is open."""
