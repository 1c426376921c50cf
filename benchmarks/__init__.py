"""Measurements of edge-effnet, each a command."""
