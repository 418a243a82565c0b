"""The flags: their names, what they mean, and the rules that need no more than numbers.

Invariant: `IMAGE_FLAGS` and `SAMPLE_FLAGS` are the only lists of flags, and their texts are the rules in words. The
limits are choices, not standards; `benchmarks/science/checks.py` measures what they find and how often they are wrong.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pelagia_inference.checks.clipping import CLIPPED
from pelagia_inference.checks.repeats import MOST_PIXELS

LEAST_SHARPNESS = 0.5
SOFT = 0.7
_BELOW, _LEAST_SPREAD, _LEAST_IMAGES = 2.0, 0.05, 20
SMALLEST_PIXEL_UM, LARGEST_PIXEL_UM = 0.05, 1000.0
MANY = {"blurred": 0.2, "clipped": 0.25, "duplicate": 0.05, "unknown": 0.3, "bubbles": 0.1}
"""What of a sample's images -> the share above which the sample is flagged."""
_Z = 2.326  # one-sided, 99%

BLURRED, CLIPPED_FLAG, DUPLICATE = "blurred", "clipped", "duplicate"
NO_PIXEL_SIZE, BAD_PIXEL_SIZE = "no_pixel_size", "implausible_pixel_size"

IMAGE_FLAGS = {
    BLURRED: (
        f"its edges are wider than 2 pixels (sharpness below {LEAST_SHARPNESS}), or its sharpness is below {SOFT} and "
        "more than two standard deviations below the median of the images of its class"
    ),
    CLIPPED_FLAG: f"it looks cut off by the edge of its crop (contact of {CLIPPED} or more)",
    DUPLICATE: (
        f"its sample has the same particle before: the same picture, and, where positions are known, within "
        f"{MOST_PIXELS} pixels"
    ),
    NO_PIXEL_SIZE: "it has no pixel size, though other images of its sample have one",
    BAD_PIXEL_SIZE: f"its pixel size is below {SMALLEST_PIXEL_UM} or above {LARGEST_PIXEL_UM:g} micrometers",
}
"""Flag of an image -> the rule in words."""

SAMPLE_FLAGS = {
    "many_blurred": f"more than {MANY['blurred']:.0%} of its images are blurred",
    "many_clipped": f"more than {MANY['clipped']:.0%} of its images are clipped",
    "many_duplicates": f"more than {MANY['duplicate']:.0%} of its images are duplicates",
    "many_unknown": f"the model took more than {MANY['unknown']:.0%} of its images for none of its classes",
    "bubbles": f"more than {MANY['bubbles']:.0%} of its images have a class that is named after bubbles",
    NO_PIXEL_SIZE: "none of its images has a pixel size, so there are no sizes and volumes in micrometers",
    "different_pixel_sizes": "its images have different pixel sizes",
    "no_volume": "the volume that was analyzed is not known, so there are no concentrations",
    "implausible_volume": "its volume is not above 0, or differs from those of the samples around it, or from the flow",
    "beads_run": "the header of the IFCB bin says that beads were run",
    "clogged_run": "the IFCB had a gap between triggers that chance does not explain",
    "short_run": "the IFCB ran for less than half of the time that its syringe needs",
    "high_inhibit": "the IFCB was busy for more than half of the run",
    "humid": "the humidity in the IFCB was above its own alarm threshold, or above 75%",
    "hot": "the temperature in the IFCB was above 50 degrees Celsius",
    "flow_shifted": "the images of the IFCB lie elsewhere in the view of the camera than in its other bins",
    "unexpected_class": "a class was found where the list of expected taxa does not have it",
}
"""Flag of a sample -> the rule in words."""


def blurred(sharpness: NDArray[np.float32], classes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which images are blurred, by the rule in `IMAGE_FLAGS`.

    The median and the standard deviation (of logarithms, from the median absolute deviation) are those of the class, if
    at least 20 images have it; else those of all images.

    Args:
        sharpness: float32, one value for each image; not a number: not known.
        classes: int32, the class of each image.
    """
    low = sharpness < LEAST_SHARPNESS
    logs = np.log(np.maximum(sharpness, 1e-3))
    known = np.isfinite(logs)
    if not known.any():
        return low
    limits = np.full(len(logs), _lowest(logs[known]), np.float32)
    for name in np.unique(classes[known]):
        members = known & (classes == name)
        if members.sum() >= _LEAST_IMAGES:
            limits[classes == name] = _lowest(logs[members])
    marked: NDArray[np.bool_] = low | ((sharpness < SOFT) & (logs < limits))
    return marked


def _lowest(logs: NDArray[np.float32]) -> float:
    middle = float(np.median(logs))
    return middle - _BELOW * max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_SPREAD)


def clearly_above(count: int, images: int, share: float) -> bool:
    """Whether ``count`` of ``images`` are more than a share, beyond chance (lower end of Wilson's interval, 99%)."""
    if not images:
        return False
    part, square = count / images, _Z**2 / images
    spread = _Z * math.sqrt(part * (1 - part) / images + square / (4 * images))
    return (part + square / 2 - spread) / (1 + square) > share


def is_plausible_pixel(size_um: float) -> bool:
    """Whether a pixel size in micrometers can be right."""
    return SMALLEST_PIXEL_UM <= size_um <= LARGEST_PIXEL_UM
