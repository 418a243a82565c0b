"""Images that are the same picture though not the same bytes: saved again, rescaled, brightened, with other noise.

One of a pair in train and the other in test is a leak: `pelagia.dataset.write` puts both into one group.

Invariant: a pair must pass two checks. A hash of 64 bits (the signs of the lower frequencies of a cosine transform)
finds candidates without comparing all with all; but plankton is often a dark blob on a plain ground, and blobs have
hashes alike. So their texture, what is left when the coarse shape is taken away, must agree as well.
`benchmarks/science/near_duplicates.py` measures both on FlowCam, where no two stations share an image: of 13.5 million pairs 58
pass the first check and none the second, while all copies that were saved again at quality 50 pass both. What was
turned, mirrored or cropped is not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import Image, PreprocessSpec, fit

Floats = NDArray[np.float32]

FITTED = PreprocessSpec(size=48)
"""What is looked at; a large JPEG may be decoded at a reduced scale for it."""
MOST_BITS = 4
LEAST_CORRELATION = 0.97

_BANDS = 6  # of which two agree where four bits differ at most
_SIDE = 16
_NEIGHBOURS = 64
_AT_ONCE = 1 << 16
_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)

SIGNATURE_BYTES = 8 + _SIDE**2


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Two images that look the same: their indices, how many bits of 64 differ, and how well the texture agrees."""

    first: int
    second: int
    bits: int
    correlation: float


def signature_of(image: Image) -> bytes:
    """What `find_near_duplicates` compares of an image (uint8, H x W x 3, RGB): `SIGNATURE_BYTES` bytes."""
    grey = cv2.cvtColor(fit(image, FITTED), cv2.COLOR_RGB2GRAY).astype(np.float32)
    waves: Floats = np.asarray(cv2.dct(grey)[1:9, 1:9], np.float32)
    fine: Floats = np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 2.0), np.float32)
    texture: Floats = np.asarray(cv2.resize(fine, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
    texture -= texture.mean()
    scale = 127 / max(4 * float(texture.std()), 1.0)  # below, an image without texture, whose noise is no likeness
    small = np.clip(np.round(texture * scale), -127, 127).astype(np.int8)
    return np.packbits(waves > np.median(waves)).tobytes() + small.tobytes()


def find_near_duplicates(looks: Sequence[bytes], apart: Sequence[object]) -> list[NearDuplicates]:
    """Pairs that look the same and differ in ``apart``, by index.

    Among more than `_NEIGHBOURS` that share a band, each is compared with the next ones only: of a long row of copies
    neighbours are found, which is enough to join them.

    Args:
        looks: of `signature_of`.
        apart: a value an image, such as its group; pairs of one value are of no interest.
    """
    if len(looks) < 2:
        return []
    table = np.frombuffer(b"".join(looks), np.uint8).reshape(len(looks), SIGNATURE_BYTES)
    hashes = table[:, :8].copy().view(np.uint64)[:, 0]
    textures = table[:, 8:].view(np.int8)
    side = np.unique(np.asarray([str(one) for one in apart]), return_inverse=True)[1]
    found: dict[tuple[int, int], NearDuplicates] = {}
    for first, second in _candidates(hashes, side):
        bits = _BITS[(hashes[first] ^ hashes[second]).view(np.uint8).reshape(-1, 8)].sum(axis=1)
        near = bits <= MOST_BITS
        first, second, bits = first[near], second[near], bits[near]
        agreement = _correlation(textures[first], textures[second])
        for index in np.flatnonzero(agreement >= LEAST_CORRELATION):
            pair = int(min(first[index], second[index])), int(max(first[index], second[index]))
            found[pair] = NearDuplicates(*pair, int(bits[index]), float(agreement[index]))
    return [found[pair] for pair in sorted(found)]


def _candidates(
    hashes: NDArray[np.uint64], side: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of different sides whose hashes agree in two of `_BANDS` bands, some at a time; a pair may come again."""
    edges = [64 * band // _BANDS for band in range(_BANDS + 1)]
    masks = [sum(1 << bit for bit in range(low, high)) for low, high in pairwise(edges)]
    for one, other in combinations(masks, 2):
        keys = hashes & np.uint64(one | other)
        order = np.lexsort((hashes, keys))
        sorted_keys = keys[order]
        start: NDArray[np.intp] = np.arange(len(order) - 1, dtype=np.intp)
        for step in range(1, _NEIGHBOURS + 1):
            start = start[start + step < len(order)]
            start = start[sorted_keys[start] == sorted_keys[start + step]]
            if not len(start):
                break
            first, second = order[start], order[start + step]
            apart = side[first] != side[second]
            first, second = first[apart], second[apart]
            for part in range(0, len(first), _AT_ONCE):
                yield first[part : part + _AT_ONCE], second[part : part + _AT_ONCE]


def _correlation(one: NDArray[np.int8], other: NDArray[np.int8]) -> Floats:
    """Of rows of texture, -1..1; 0 where one has none."""
    first, second = one.astype(np.float32), other.astype(np.float32)
    product = (first * second).sum(axis=1)
    length = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    agreement: Floats = np.divide(product, length, out=np.zeros_like(product), where=length > 0)
    return agreement


def join_groups(groups: Sequence[str], twins: Sequence[NearDuplicates]) -> list[str]:
    """The groups, those that share twins joined under the name that sorts first."""
    parent = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for pair in twins:
        one, other = sorted((root(groups[pair.first]), root(groups[pair.second])))
        parent[other] = one
    return [root(name) for name in groups]
