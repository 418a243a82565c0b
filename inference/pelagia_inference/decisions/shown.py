"""What the commands `decide`, `explain`, `compare` and `tracks` print."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pelagia.system import console

if TYPE_CHECKING:
    from pelagia_inference.decisions.compare import Comparison
    from pelagia_inference.decisions.decide import Decided
    from pelagia_inference.decisions.explain import Explanation
    from pelagia_inference.decisions.policies import Policy
    from pelagia_inference.decisions.tracks import Tracks

_NO_NAME = "(no name)"
_NAMES_SHOWN = 12


def decided_as_json(policy: Policy, done: Decided) -> dict[str, object]:
    """What a policy changes, as plain values."""
    expected = policy.expected
    return {
        "policy": policy.name,
        "target_precision": policy.target,
        "expected_accepted": None if expected is None else expected.accepted,
        "expected_precision": None if expected is None else expected.precision,
        "validation_images": policy.images,
        "measured_on": policy.measured_on,
        "overridden": dict(policy.overridden),
        "images": done.images,
        "failed": done.failed,
        "changed": done.changed,
        "decisions": [{"first": first, "now": now, "images": count} for (first, now), count in done.pairs.items()],
        "names": [{"first": first, "now": now, "images": count} for (first, now), count in done.renamed.most_common()],
        "out": None if done.out is None else str(done.out),
    }


def decided(policy: Policy, done: Decided) -> None:
    """Prints what a policy is, and what it changes."""
    console.say(f"{policy.name}: {policy.words}")
    console.say(f"expected: {policy.expectation}")
    for name, threshold in policy.overridden.items():
        console.say(f"your threshold: {name} {'never accepted' if threshold is None else threshold}")
    rows = [(first or "none", now, count) for (first, now), count in sorted(done.pairs.items())]
    console.table(("first decision", "now", "images"), rows)
    most = done.renamed.most_common(_NAMES_SHOWN)
    if most:
        names = [(first or _NO_NAME, now or _NO_NAME, count) for (first, now), count in most]
        console.table(("first name", "now", "images"), names)
    if hidden := len(done.renamed) - len(most):
        console.say(f"and {hidden} other changes of a name; --json lists all")
    console.say(f"the name changed for {done.changed} of {done.images} images; {done.failed} failed images have none")
    if done.out is None:
        console.say("nothing was written: name a table with --out to keep these decisions")
    else:
        console.say(f"written: {done.out}; the survey keeps its first decisions")


def explanation(found: Explanation) -> None:
    """Prints why a survey says what it says of an image."""
    from pelagia_inference.decisions.explain import MODEL_CLASS, sentence_of, shown_levels

    row = found.row
    if found.pixels is None:
        console.say(f"{row.path}: the picture cannot be shown: {found.no_picture}")
    else:
        height, width = found.pixels.shape[:2]
        console.say(f"{row.path}: {width} x {height} pixels, {row.file}")
    if not row.ok:
        console.say(f"not classified: {row.message or row.reason}")
        return
    verdict = row.verdict
    if verdict.decision:
        named = f" as {verdict.name}" if verdict.name else ""
        console.say(f"decision: {verdict.decision.replace('_', ' ')}{named}{f' ({verdict.rank})' * bool(verdict.rank)}")
    console.say(sentence_of(found))
    if found.confirmed:
        by = f" by {found.confirmed.people}" if found.confirmed.people else ""
        console.say(f"confirmed as {found.confirmed.class_name}{by}")
    for flag in found.flags:
        console.say(f"flag: {flag.flag}{f' ({flag.detail})' * bool(flag.detail)}")
    if row.message:
        console.say(f"remark: {row.message}")
    console.table(("class", "probability"), [(name, f"{value:.4f}") for name, value in found.classes[:_NAMES_SHOWN]])
    if (hidden := len(found.classes) - _NAMES_SHOWN) > 0:
        console.say(f"{hidden} more classes are less likely")
    if levels := shown_levels(found):
        rows = [
            ("  " * level.depth + level.name, level.rank or MODEL_CLASS, f"{level.probability:.4f}") for level in levels
        ]
        console.table(("taxon", "rank", "sum"), rows)
    _similar(found)


def _similar(found: Explanation) -> None:
    if not found.similar:
        console.say(f"similar reference images: none, because {found.no_similar}")
        return
    rows = [(f"{one.similarity:.4f}", one.class_name, one.path) for one in found.similar]
    console.table(("similarity", "label", "reference image"), rows)


def comparison_as_json(found: Comparison) -> dict[str, object]:
    """The difference of two surveys, as plain values."""
    only_a, only_b = sorted(found.in_a - found.in_b), sorted(found.in_b - found.in_a)
    return {
        "same_model": found.same_model,
        "images": found.images,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "other_bytes": found.other_bytes,
        "failed": found.failed,
        "classes_only_a": {name: found.composition[name][0] for name in only_a},
        "classes_only_b": {name: found.composition[name][1] for name in only_b},
        "compared": found.compared,
        "agreement": found.agreement,
        "kappa": found.kappa,
        "changed": found.changes.total(),
        "changes": [{"a": a, "b": b, "images": count} for (a, b), count in found.changes.most_common()],
        "composition": {name: {"a": a, "b": b} for name, (a, b) in found.composition.items()},
        "bray_curtis": found.bray_curtis,
        "by": list(found.by),
        "samples": [asdict(sample) for sample in found.samples],
        "first": [asdict(one) for one in found.first],
        "out": None if found.out is None else str(found.out),
    }


def comparison(found: Comparison) -> None:
    """Prints the difference of two surveys."""
    model = "the same model" if found.same_model else "two models"
    console.say(
        f"{found.images} images are in both surveys, classified by {model}; only in A: {found.only_a}, only in B: "
        f"{found.only_b}, the same path but another image: {found.other_bytes}, failed in one of them: {found.failed}"
    )
    for here, there, which in ((found.in_a, found.in_b, 0), (found.in_b, found.in_a, 1)):
        if lone := sorted(here - there):
            listed = ", ".join(f"{name} ({found.composition[name][which]} images)" for name in lone)
            console.say(f"classes that only {'AB'[which]} has: {listed}")
    if left_out := found.images - found.compared:
        console.say(
            f"{left_out} images have an answer that the other model does not know; they are not in the agreement"
        )
    if found.agreement is None:
        console.say("no image has an answer that both models know: the agreement cannot be measured")
    else:
        kappa = "not defined, because there is one class" if found.kappa is None else f"{found.kappa:.3f}"
        console.say(f"agreement: {found.agreement:.1%} of {found.compared} images; Cohen's kappa {kappa}")
    console.say(f"Bray-Curtis dissimilarity of the compositions: {found.bray_curtis:.4f}")
    console.table(("class", "images in A", "images in B"), [(name, *pair) for name, pair in found.composition.items()])
    _changes(found)
    if found.out is not None:
        console.say(f"written: {found.out}, {found.changes.total()} changed images")


def _changes(found: Comparison) -> None:
    if not found.changes:
        console.say("no answer changed")
        return
    most = found.changes.most_common(_NAMES_SHOWN)
    console.table(("class in A", "class in B", "images"), [(*pair, count) for pair, count in most])
    if hidden := len(found.changes) - len(most):
        console.say(f"and {hidden} other pairs of classes; --json lists all")
    if found.samples:
        rows = [(one.name, one.images, one.changed, f"{one.bray_curtis:.4f}") for one in found.samples[:_NAMES_SHOWN]]
        console.table((f"sample ({', '.join(found.by)})", "images", "changed", "Bray-Curtis"), rows)
        if hidden := len(found.samples) - len(rows):
            console.say(f"and {hidden} samples that differ less; --json lists all")
    if found.first:
        console.say("images to look at first, because both are sure of their answer:")
        rows_first = [
            (one.path, f"{one.class_a} {one.probability_a:.3f}", f"{one.class_b} {one.probability_b:.3f}")
            for one in found.first
        ]
        console.table(("image", "A", "B"), rows_first)


def tracks_as_json(found: Tracks, out: Path | None) -> dict[str, object]:
    """The answers to the tracks, as plain values."""
    counts = {"classes": dict(found.classes), "decisions": dict(found.decisions)}
    return {**vars(found), **counts, "out": None if out is None else str(out)}


def tracks(found: Tracks, out: Path | None) -> None:
    """Prints a summary of the answers to the tracks."""
    console.say(f"{found.tracks} tracks of the column {found.column}, {found.images} images")
    console.say(f"combined by the {found.how}")
    if found.without:
        console.say(f"left out: {found.without} images whose column {found.column} is empty")
    if found.failed:
        console.say(f"left out: {found.failed} images that could not be classified")
    console.counts_table(found.classes, ("likeliest class", "tracks"))
    if found.decisions:
        console.say(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(found.decisions.items())))
    console.say(f"in {found.mixed} tracks the images do not all have the same likeliest class")
    if out is None:
        console.say("nothing was written: name a table with --out to keep the answers")
    else:
        console.say(f"written: {out}")
