"""A classifier with the rule and the labels that decide: what is exchanged as a whole when a network is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.classifier import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.live.decisions import DecisionRule, default_rule

#: A rule, what makes one for a network, or None for what suits its head and its number of classes.
RuleFor: TypeAlias = "DecisionRule | Callable[[Classifier], DecisionRule] | None"
#: Labels of lists that a network hasn't: an error, or of no account, since another network may have them.
ForeignLabels: TypeAlias = Literal["refuse", "pass over"]


@dataclass(frozen=True, eq=False)
class Judge:
    """allowed: float32[C] of 1 and 0 for the labels that may be announced, None for all."""

    classifier: Classifier
    rule: DecisionRule
    allowed: npt.NDArray[np.float32] | None

    def index_of(self, label: str) -> int | None:
        """The class of that name which may be announced."""
        labels = self.classifier.answers or ()
        found = labels.index(label) if label in labels else None
        return found if found is None or self.allowed is None or self.allowed[found] else None


def rule_for(classifier: Classifier) -> DecisionRule:
    """What suits the network's head and its number of classes."""
    return default_rule(classifier.num_answers, head="sigmoid" if classifier.head.kind == "sigmoid" else "softmax")


@dataclass(frozen=True)
class Judging:
    """What was asked for, whatever network comes. rule: of each; allow, deny: labels. foreign_labels: what becomes of
    those that the first network hasn't.
    """

    rule: RuleFor = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None
    foreign_labels: ForeignLabels = "refuse"

    def judge(self, classifier: Classifier) -> Judge:
        """For the first network. Raises UsageError for an unknown label, or when none is left, unless they are passed
        over.
        """
        if self.foreign_labels == "pass over":
            return self.judge_next(classifier)
        return Judge(classifier, self._rule(classifier), _mask(classifier, self.allow, self.deny))

    def judge_next(self, classifier: Classifier) -> Judge:
        """For a network that takes another's place: labels that it hasn't are passed over, and where none is left, all
        may be announced.
        """
        known = frozenset(label.casefold() for label in classifier.answers or ())
        allow, deny = (
            [label for label in given or () if label.strip().casefold() in known] for given in (self.allow, self.deny)
        )
        try:
            mask = _mask(classifier, allow or None, deny or None)
        except UsageError:  # the lists leave none of its labels
            mask = None
        return Judge(classifier, self._rule(classifier), mask)

    def _rule(self, classifier: Classifier) -> DecisionRule:
        if isinstance(self.rule, DecisionRule):
            return self.rule
        return rule_for(classifier) if self.rule is None else self.rule(classifier)


def _mask(
    classifier: Classifier, allow: Iterable[str] | None, deny: Iterable[str] | None
) -> npt.NDArray[np.float32] | None:
    """float32[C] of 1 and 0, or None without lists."""
    among = classifier.class_indices(allow=allow, deny=deny)
    if among is None:
        return None
    mask = np.zeros(classifier.num_answers, np.float32)
    mask[sorted(among)] = 1
    return mask
