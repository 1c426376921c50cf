"""Compares two JSON lists of `predict`: labels must agree, scores are shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(left: str, right: str) -> int:
    """Prints one line a photo; 1 when a best label differs."""
    pairs = list(zip(_read(left), _read(right), strict=True))
    differing = 0
    for here, there in pairs:
        first, second = here["predictions"][0], there["predictions"][0]
        same = [p["label"] for p in here["predictions"]] == [p["label"] for p in there["predictions"]]
        differing += first["label"] != second["label"]
        print(
            f"{Path(here['source']).name:<28} {here['engine']} {first['label']} {first['score']:.4f} · "
            f"{there['engine']} {second['label']} {second['score']:.4f} · top five {'the same' if same else 'differ'}"
        )
    print(f"{len(pairs) - differing} of {len(pairs)} best labels agree")
    return 1 if differing else 0


def _read(path: str) -> list[dict[str, Any]]:
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    return [entry for entry in found if "error" not in entry]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
