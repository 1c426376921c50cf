"""Teaching a network new classes: its features stay, its last layer is learned anew from a few photos, with numpy."""

from edge_effnet.learning.learn import Learned, learn

__all__ = ["Learned", "learn"]
