"""Stands in for libcamera's Python module, of which picamera2 takes the transform."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Transform:
    hflip: bool = False
    vflip: bool = False
