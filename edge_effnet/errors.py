"""The errors of edge-effnet: one root, leaves that are also the fitting builtin.

EdgeEffnetError
├── UsageError              ValueError     an option or argument that can't be meant
├── ImageError              ValueError     a photo that can't be decoded or has an impossible shape
├── ModelFileError          ValueError     a model file that is broken, foreign or newer than this program
├── CheckpointError         ValueError     training weights that can't be read or don't fit a variant
├── GraphError              ValueError     operators of a network whose shapes don't fit each other
├── OperatorError           ValueError     an operator of a network that a part of this program doesn't handle
├── CalibrationError        ValueError     too few or unusable calibration photos
├── MissingDependencyError  ImportError    a package that an extra brings
├── EngineError             RuntimeError   an inference engine refused or failed
├── SourceError             OSError        a camera or video that can't be opened or gives no more frames
└── OutputError             OSError        a file that can't be written

SlowEngineWarning           UserWarning    what was asked for works, but slowly
UnverifiedModelWarning      UserWarning    a model file without a checksum: damage to its weights can't be told
"""

from __future__ import annotations

from edge_effnet.text import printable


class EdgeEffnetError(Exception):
    """Root of every error a user can mend; the message says what was found, expected and what to do.

    As text it is one line of at most 500 characters without control characters, whatever names it repeats.
    """

    def __str__(self) -> str:
        return printable(super().__str__().replace("\n", " "))


class UsageError(EdgeEffnetError, ValueError):
    """An option or argument that can't be meant."""


class ImageError(EdgeEffnetError, ValueError):
    """A photo that can't be decoded or whose array has an impossible shape."""


class ModelFileError(EdgeEffnetError, ValueError):
    """A model file that is broken, of another maker without the needed facts, or newer than this program."""


class CheckpointError(EdgeEffnetError, ValueError):
    """Training weights that can't be read or don't fit any known variant."""


class GraphError(EdgeEffnetError, ValueError):
    """Operators of a network whose shapes don't fit each other."""


class OperatorError(EdgeEffnetError, ValueError):
    """An operator of a network that a part of this program doesn't handle; the message names both."""


class CalibrationError(EdgeEffnetError, ValueError):
    """Too few or unusable calibration photos."""


class MissingDependencyError(EdgeEffnetError, ImportError):
    """A package is missing; the message names the extra that brings it."""


class EngineError(EdgeEffnetError, RuntimeError):
    """An inference engine refused the file or failed while running it."""


class SourceError(EdgeEffnetError, OSError):
    """A camera or video can't be opened, or has stopped giving frames."""


class OutputError(EdgeEffnetError, OSError):
    """A file couldn't be written; nothing was changed."""


class SlowEngineWarning(UserWarning):
    """No inference engine is installed, so numpy does the work; the message says how much faster an engine would be."""


class UnverifiedModelWarning(UserWarning):
    """A model file carries no SHA-256 of its weights and none was given, so a wrong label from damaged weights can't be
    told.
    """


def first_line(error: BaseException) -> str:
    """The first line of another library's message, at most 200 characters; its class name when it says nothing."""
    text = str(error).strip()
    return printable(text.splitlines()[0], most=200) if text else type(error).__name__
