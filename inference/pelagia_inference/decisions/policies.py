"""The policies of `pelagia decide`: which rule each of them is, and what is known of its precision.

``balanced`` is the rule of the model itself. ``conservative`` makes a fifth of its errors, and accepts fewer images.
``everything`` gives each image its likeliest class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pelagia.errors import InputError, did_you_mean
from pelagia.model.card import ModelCard
from pelagia.model.decision import CoverageAndPrecision, Decider, Decision
from pelagia.model.held_out import images_are_called
from pelagia.model.policies import conservative_target

CONSERVATIVE, BALANCED, EVERYTHING = "conservative", "balanced", "everything"
POLICIES = (CONSERVATIVE, BALANCED, EVERYTHING)
NEVER = "never"


@dataclass(frozen=True)
class Policy:
    """A rule, and what is known of it.

    Attributes:
        name: one of `POLICIES`.
        decision: the thresholds.
        unknown_above: images with a higher out-of-distribution score get no name; None: the score is not used.
        target: the precision that it was chosen for, 0..1; None: it was chosen for none.
        expected: share of accepted images and their precision on the validation images, or out of fold; None: not
            measured.
        images: number of these images.
        words: what it is, in words.
        overridden: class -> threshold that the user gave; None: the class is never accepted.
        measured_on: what these images are called: "validation" or "out-of-fold".
    """

    name: str
    decision: Decision
    unknown_above: float | None
    target: float | None
    expected: CoverageAndPrecision | None
    images: int
    words: str
    overridden: Mapping[str, float | None]
    measured_on: str = "validation"

    def decider(self, card: ModelCard) -> Decider:
        """The rule for the classes of the model."""
        return Decider(card.taxonomy, self.decision, self.unknown_above)

    @property
    def expectation(self) -> str:
        """What is known of its precision, in words."""
        if self.expected is None:
            known = "its share of accepted images was not measured"
        elif self.expected.precision is None:
            known = f"it accepts none of the {self.images} {self.measured_on} images of the model"
        else:
            known = (
                f"on the {self.images} {self.measured_on} images of the model it accepts "
                f"{self.expected.accepted:.1%} and {self.expected.precision:.1%} of their names are right"
            )
        changed = "; this does not hold for the thresholds that you gave" if self.overridden else ""
        return f"{known}{changed}"


def policy_of(card: ModelCard, name: str, overrides: Mapping[str, float | None] | None = None) -> Policy:
    """The rule of a policy for a model.

    Args:
        card: the card of the model.
        name: one of `POLICIES`.
        overrides: class -> its threshold, 0..1; None: the class is never accepted.

    Raises:
        InputError: there is no such policy or class, or the model has no thresholds to start from.
    """
    makers = {CONSERVATIVE: _conservative, BALANCED: _balanced, EVERYTHING: _everything}
    if name not in makers:
        raise InputError(f"--policy: there is no policy '{name}'{did_you_mean(name, POLICIES)}: {', '.join(POLICIES)}")
    if name != EVERYTHING and card.decision.rule != "thresholds":
        raise InputError(
            f"--policy {name}: the model has no thresholds, because an early version exported it: use --policy "
            f"{EVERYTHING}, or export the model again and classify with it"
        )
    policy = replace(makers[name](card), measured_on=images_are_called(card.dataset))
    if not overrides:
        return policy
    classes = dict(policy.decision.classes)
    for class_name, threshold in overrides.items():
        if class_name not in card.taxonomy.names:
            hint = did_you_mean(class_name, card.taxonomy.names)
            raise InputError(f"--class: the model has no class '{class_name}'{hint}")
        classes[class_name] = threshold
    return replace(policy, decision=policy.decision.model_copy(update={"classes": classes}), overridden=overrides)


def parse_overrides(options: Iterable[str]) -> dict[str, float | None]:
    """The thresholds in options such as ``copepod=0.8`` and ``detritus=never``. Raises InputError."""
    found: dict[str, float | None] = {}
    for option in options:
        name, equals, text = option.rpartition("=")
        try:
            value = None if text.strip().lower() == NEVER else float(text)
        except ValueError:
            equals = ""
            value = None
        if not equals or not name or (value is not None and not 0 <= value <= 1):
            raise InputError(f"--class {option}: give a class and a probability from 0 to 1, or {NEVER}: copepod=0.8")
        found[name.strip()] = value
    return found


def _balanced(card: ModelCard) -> Policy:
    rule = card.decision
    words = "the rule of the model itself" + ("" if rule.target_precision is None else _target(rule.target_precision))
    found = (card.unknown_threshold, rule.target_precision, rule.by_roll_up, rule.images)
    return Policy(BALANCED, rule, *found, words, {})


def _conservative(card: ModelCard) -> Policy:
    stored = card.policies and card.policies.conservative
    if stored:
        words = "a fifth of the errors of the model's own rule" + _target(stored.target_precision or 1.0)
        found = (card.unknown_threshold, stored.target_precision, stored.by_roll_up, stored.images)
        return Policy(CONSERVATIVE, stored, *found, words, {})
    target = conservative_target(card.decision.target_precision or 0.95)
    rule = Decision(
        rule="thresholds",
        target_precision=target,
        classes={name: _raised(value, target) for name, value in card.decision.classes.items()},
        taxa={name: _raised(value, target) for name, value in card.decision.taxa.items()},
    )
    words = (
        f"the rule of the model itself, with no threshold below {target:g}. An older version exported the model, so "
        f"there are no thresholds that were chosen for a precision of {target:.1%}: that precision is reached only if "
        "the probabilities are calibrated"
    )
    return Policy(CONSERVATIVE, rule, card.unknown_threshold, target, None, 0, words, {})


def _everything(card: ModelCard) -> Policy:
    confusion = card.validation_confusion
    images = sum(map(sum, confusion))
    right = sum(row[place] for place, row in enumerate(confusion))
    expected = CoverageAndPrecision(accepted=1.0, precision=right / images) if images else None
    rule = Decision(rule="thresholds", classes=dict.fromkeys(card.taxonomy.names, 0.0))
    words = "each image gets its likeliest class, whatever its probability and its out-of-distribution score"
    return Policy(EVERYTHING, rule, None, None, expected, images, words, {})


def _target(precision: float) -> str:
    return f", whose thresholds were chosen so that {precision:.1%} of the accepted names are right"


def _raised(threshold: float | None, least: float) -> float | None:
    return None if threshold is None else max(threshold, least)
