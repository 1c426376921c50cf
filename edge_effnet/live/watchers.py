"""Who sees each classified frame, in the thread that classified it."""

from __future__ import annotations

from typing import Protocol

from edge_effnet.live.readings import Reading


class Watcher(Protocol):
    """Takes readings; must return at once, since the next frame waits for it."""

    def see(self, reading: Reading) -> None:
        """Looks at one reading."""
        ...
