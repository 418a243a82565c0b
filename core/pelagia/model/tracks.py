"""One answer for several images of one animal: the images of a track, or of one event.

The answer is the softmax of the mean log-probability of the images, times ``images ** exponent``. With exponent 1 it is
the product of the probabilities, as if the images were independent; with 0 it is their geometric mean, as if all images
were one. Consecutive images of one animal are between the two, and one image alone keeps its probabilities whatever
the exponent is. The exponent is fitted on the tracks of the validation split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia.model.policies import TrackEvidence

LEAST_TRACKS = 20
"""An exponent is not fitted on fewer tracks with two or more images."""
LEAST_PURE = 0.95
"""Groups are tracks if at least this share of those with two or more images have one class only."""
EXPONENTS = np.round(np.arange(-0.5, 1.01, 0.01), 2)
_FLOOR = 1e-12

Floats = NDArray[np.float64]


def log_probabilities(probabilities: NDArray[np.floating]) -> Floats:
    """The logarithms of probabilities, float64, of any shape; those of zeros are finite."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), _FLOOR)))


def track_probabilities(mean_logs: Floats, images: NDArray[np.integer], exponent: float) -> Floats:
    """The probabilities of each track: float64, tracks x classes, each row summing to 1.

    Args:
        mean_logs: float64, tracks x classes, the mean of `log_probabilities` over the images of the track.
        images: int, tracks, the number of its images.
        exponent: see the module.
    """
    scaled = mean_logs * (images.astype(np.float64) ** exponent)[:, None]
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_evidence(
    probabilities: NDArray[np.floating], targets: NDArray[np.integer], tracks: NDArray[np.str_], column: str
) -> TrackEvidence | None:
    """The exponent that maximizes the likelihood of tracks; None if the groups are no tracks, or are too few.

    Tracks with several classes are left out.

    Args:
        probabilities: float, N x classes, of images that the network was not fitted on.
        targets: int64, N, the labels' class indices.
        tracks: N, the name of each image's track.
        column: the column that the names come from.
    """
    places = np.unique(tracks, return_inverse=True)[1]
    images = np.bincount(places)
    sums = np.zeros((len(images), probabilities.shape[1]))
    np.add.at(sums, places, log_probabilities(probabilities))
    lowest, highest = np.full(len(images), probabilities.shape[1]), np.full(len(images), -1)
    np.minimum.at(lowest, places, targets)
    np.maximum.at(highest, places, targets)
    several, pure = images > 1, lowest == highest
    used = several & pure
    if used.sum() < LEAST_TRACKS or used.sum() < LEAST_PURE * several.sum():
        return None
    means, labels, numbers = sums[used] / images[used][:, None], lowest[used], images[used]

    def loss(exponent: float) -> float:
        found = track_probabilities(means, numbers, exponent)[np.arange(len(labels)), labels]
        return -float(np.log(np.maximum(found, _FLOOR)).mean())

    losses = [loss(float(exponent)) for exponent in EXPONENTS]
    best = int(np.argmin(losses))
    return TrackEvidence(
        column=column,
        exponent=float(EXPONENTS[best]),
        tracks=len(labels),
        images=int(numbers.sum()),
        likelihood_before=loss(0.0),
        likelihood=losses[best],
    )
