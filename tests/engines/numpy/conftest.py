"""The tests compare with LiteRT; where it isn't installed only those that don't are collected."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("ai_edge_litert") else ["test_[!m]*.py"]
