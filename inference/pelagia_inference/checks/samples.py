"""Which samples are not fit for counting, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from pelagia.survey.additions import Flag
from pelagia.tables.values import is_missing, number
from pelagia_inference.checks.gather import SampleState
from pelagia_inference.checks.rules import MANY, NO_PIXEL_SIZE, clearly_above
from pelagia_inference.counts.volumes import effort_of

_BUBBLES = ("bubble", "air_bubble", "airbubble")
_NEIGHBORS, _LEAST_NEIGHBORS = 10, 4
_LEAST_RATIO = math.log2(1.5)
_FLOW_TOLERANCE = 0.1
_LEAST_BINS, _LEAST_SHIFT = 5, 100.0


def share_flags(sample: SampleState, counts: dict[str, int]) -> Iterator[Flag]:
    """Flags for shares of images that are too large.

    Args:
        counts: flag of images -> number of the sample's images that have it.
    """
    wanted = {
        "many_blurred": ("blurred", counts.get("blurred", 0)),
        "many_clipped": ("clipped", counts.get("clipped", 0)),
        "many_duplicates": ("duplicate", counts.get("duplicate", 0)),
        "many_unknown": ("unknown", sample.unknown),
        "bubbles": ("bubbles", sum(n for name, n in sample.classes.items() if _is_bubble(name))),
    }
    for flag, (what, count) in wanted.items():
        if clearly_above(count, sample.images, MANY[what]):
            yield Flag(sample.name, flag, f"{count} of {sample.images} images ({count / sample.images:.0%})")


def _is_bubble(name: str) -> bool:
    plain = name.lower().replace(" ", "_").rstrip("s")
    return any(plain == word or plain.endswith(f"_{word}") or plain.startswith(f"{word}_") for word in _BUBBLES)


def pixel_flags(sample: SampleState) -> Iterator[Flag]:
    """Flags for pixel sizes that are missing from all images, or differ."""
    sizes = [size for size in sample.pixel_sizes if size]
    if sample.images and not sizes:
        yield Flag(sample.name, NO_PIXEL_SIZE, "give it with --pixel-size, or in a column pixel_size_um of the input")
    elif sizes and max(sizes) > 1.01 * min(sizes):
        yield Flag(sample.name, "different_pixel_sizes", f"from {min(sizes):g} to {max(sizes):g} micrometers")


def volume_flags(samples: Sequence[SampleState]) -> Iterator[Flag]:
    """Flags for volumes that are missing, or that do not fit to the flow or to the samples around them.

    A volume does not fit if it is more than 1.5 times larger or smaller than the median of the (up to) ten samples of
    the same instrument that are nearest in time, and more than three standard deviations of these away. At least four
    such samples are needed. Volumes are compared in liters, so a wrong unit is found as well.
    """
    groups: dict[str, list[tuple[str, int, float]]] = {}
    for index, sample in enumerate(samples):
        text = sample.columns.get("sampleSizeValue", "")
        value = number(text)
        if is_missing(text):
            yield Flag(sample.name, "no_volume", "no column sampleSizeValue with one value for the sample")
        elif value is None or value <= 0:
            yield Flag(sample.name, "implausible_volume", f"'{text}' is not a number above 0")
        elif fault := _against_flow(value, sample):
            yield Flag(sample.name, "implausible_volume", fault)
        elif (liters := (effort := effort_of(sample.columns)).liters) is None:
            yield Flag(sample.name, "no_volume", effort.fault)
        else:
            when = sample.columns.get("eventDate", "")
            groups.setdefault(sample.columns.get("instrument", ""), []).append((when, index, liters))
    for members in groups.values():
        for index, liters, middle in _outliers(sorted(members)):
            stated = " ".join(samples[index].columns.get(name, "") for name in ("sampleSizeValue", "sampleSizeUnit"))
            times = f"{liters / middle:.3g} times as much as the samples around it"
            yield Flag(samples[index].name, "implausible_volume", f"{stated}, {times}, which have {middle:.4g} liters")


def _against_flow(value: float, sample: SampleState) -> str:
    """Why the volume of an IFCB bin contradicts its header; empty if it does not."""
    run = sample.run
    if run is None or sample.columns.get("sampleSizeUnit", "") != "millilitre":
        return ""
    expected = run.header_volume_ml
    if expected and abs(value - expected) > _FLOW_TOLERANCE * expected:
        return f"{value:g} ml, but run time and inhibit time of the header give {expected:.3f} ml"
    if run.volume_ml and abs(value - run.volume_ml) > _FLOW_TOLERANCE * run.volume_ml:
        return f"{value:g} ml, but run time and inhibit time of the .adc give {run.volume_ml:.3f} ml"
    if run.syringe_ml and value > (1 + _FLOW_TOLERANCE) * run.syringe_ml:
        return f"{value:g} ml, but the syringe drew {run.syringe_ml:g} ml"
    return ""


def _outliers(members: Sequence[tuple[str, int, float]]) -> Iterator[tuple[int, float, float]]:
    """Index, volume and the median around it, of the volumes that do not fit. ``members`` are in order of time."""
    logs = [math.log2(value) for _, _, value in members]
    for at, (_, index, value) in enumerate(members):
        start = max(0, min(at - _NEIGHBORS // 2, len(members) - _NEIGHBORS - 1))
        around = [logs[i] for i in range(start, min(len(members), start + _NEIGHBORS + 1)) if i != at]
        if len(around) < _LEAST_NEIGHBORS:
            continue
        middle = median(around)
        spread = 1.4826 * median(abs(log - middle) for log in around)
        if abs(logs[at] - middle) > max(_LEAST_RATIO, 3 * spread):
            yield index, value, 2**middle


def flow_flags(samples: Sequence[SampleState]) -> Iterator[Flag]:
    """Flags for IFCB bins whose images lie elsewhere in the view of the camera than those of the instrument's others.

    The median of the horizontal centers is compared with its median over the bins of the instrument: it may differ by
    100 pixels, or by five robust standard deviations of the bins if that is more. At least five bins are needed.
    """
    groups: dict[str, list[tuple[str, float]]] = {}
    for sample in samples:
        if sample.center is not None:
            groups.setdefault(sample.columns.get("instrument", ""), []).append((sample.name, sample.center))
    for bins in groups.values():
        if len(bins) < _LEAST_BINS:
            continue
        middle = median(center for _, center in bins)
        spread = 1.4826 * median(abs(center - middle) for _, center in bins)
        for name, center in bins:
            if abs(center - middle) > max(_LEAST_SHIFT, 5 * spread):
                yield Flag(name, "flow_shifted", f"median position {center:.0f}, that of the other bins {middle:.0f}")
