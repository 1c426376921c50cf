"""Teaching the camera: photos get names on its page, a network learns from them and takes over."""

from edge_effnet.live.teaching.teacher import Teacher

__all__ = ["Teacher"]
