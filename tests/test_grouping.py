"""Labels whose scores are added up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_effnet import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.grouping import make_grouping, parse_groups

LABELS = ("tabby", "dog", "tiger cat", "lynx")
CAT = Path(__file__).parents[1] / "examples" / "photos" / "chelsea.jpg"


def test_scores_are_added_up_at_the_first_class() -> None:
    grouping = make_grouping({"cat": ["Tiger cat", "0"]}, LABELS)
    assert grouping.labels == ("cat", "dog", "cat", "lynx")
    assert grouping.among == {0, 1, 3}
    np.testing.assert_allclose(grouping.add_up(np.float32([0.4, 0.1, 0.3, 0.2])), [0.7, 0.1, 0, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"cat": ["tiger"]}, "label 'tiger' is not among the model's 4; did you mean 'tiger cat'"),
        ({"cat": []}, "group 'cat' has no labels"),
        ({"a": ["tabby"], "b": ["tabby"]}, "label 'tabby' is in the groups 'a' and 'b'"),
        ({"dog": ["tabby"]}, "group 'dog' is called like a label that isn't in it"),
    ],
)
def test_groups_that_can_not_be_meant(groups: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_grouping(groups, LABELS)


def test_a_group_may_be_called_like_one_of_its_labels() -> None:
    assert make_grouping({"lynx": ["tabby", "lynx"]}, LABELS).labels == ("lynx", "dog", "tiger cat", "lynx")


def test_groups_as_the_command_line_has_them(tmp_path: Path) -> None:
    file = tmp_path / "groups.txt"
    file.write_text("# pets\ncat = tabby, tiger cat\n\nwild=lynx\n")
    expected = {"cat": ("tabby", "tiger cat"), "wild": ("lynx",)}
    assert parse_groups([str(file)]) == parse_groups(["cat=tabby,tiger cat", "wild=lynx"]) == expected
    for text in ("cat=", "=tabby", "cat=,"):
        with pytest.raises(UsageError, match="expected NAME=LABEL,LABEL"):
            parse_groups([text])
    with pytest.raises(UsageError, match="each name once"):
        parse_groups(["a=tabby", "a=lynx"])
    with pytest.raises(UsageError, match="neither NAME=LABEL,LABEL nor a file"):
        parse_groups([str(tmp_path / "none.txt")])


@pytest.mark.litert
def test_three_breeds_are_a_cat() -> None:
    with Classifier(groups={"cat": ["tabby", "tiger cat", "Egyptian cat"]}) as classifier:
        best, second = classifier.predict(CAT, top_k=2)
        assert best.label == "cat"
        assert best.score > 0.9
        assert second.label == "lynx"
        assert len(classifier.predict(CAT, top_k=5000)) == 998
        assert [found.label for found in classifier.predict(CAT, allow=["cat"])] == ["cat"]
        assert float(classifier.scores(CAT).sum()) == pytest.approx(1, abs=1e-4)
