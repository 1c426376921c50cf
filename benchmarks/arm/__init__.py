"""Emulated ARM boards: proof that the wheel works there, and exact instruction counts (see README.md beside this
file).
"""
