from __future__ import annotations

import pytest

from edge_effnet import EdgeEffnetError, errors

LEAVES = {
    "UsageError": ValueError,
    "ImageError": ValueError,
    "ModelFileError": ValueError,
    "CheckpointError": ValueError,
    "GraphError": ValueError,
    "OperatorError": ValueError,
    "CalibrationError": ValueError,
    "MissingDependencyError": ImportError,
    "EngineError": RuntimeError,
    "SourceError": OSError,
    "OutputError": OSError,
}


def test_one_root_and_the_fitting_builtin() -> None:
    found = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, EdgeEffnetError)
    }
    assert found == {*LEAVES, "EdgeEffnetError"}
    for name, builtin in LEAVES.items():
        assert issubclass(getattr(errors, name), (EdgeEffnetError, builtin))
        assert issubclass(getattr(errors, name), builtin)
    assert all(f"── {name} " in str(errors.__doc__) for name in LEAVES)


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb", "a"), ("  x ", "x"), ("", "ValueError"), ("y" * 300, "y" * 119 + "…" + "y" * 80)]
)
def test_the_first_line_of_anothers_message(text: str, shown: str) -> None:
    assert errors.first_line(ValueError(text)) == shown
