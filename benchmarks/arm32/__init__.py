"""Proof on an emulated 32-bit board (see README.md beside this file)."""
