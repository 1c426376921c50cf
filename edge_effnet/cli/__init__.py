"""The command line: one module a verb, each imported only when it is called."""

from edge_effnet.cli.main import main

__all__ = ["main"]
