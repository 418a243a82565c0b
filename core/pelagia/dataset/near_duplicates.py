"""Finds near-duplicates: images that show the same picture but differ in their bytes.

Such images were saved again, rescaled, brightened, or have other noise. If one image of a pair is in train and the
other in test, the test metrics are too optimistic; so `pelagia.dataset.write` puts both images into one group.

Invariant: a pair must pass two checks. A perceptual hash of 64 bits (the signs of the lower frequencies of a discrete
cosine transform) finds candidates without comparing every image with every other one. But plankton is often a dark blob
on a plain background, and blobs have similar hashes. So the texture, which is the image without its coarse shape, must
correlate as well. `benchmarks/science/near_duplicates.py` tests both checks on FlowCam images (no two stations share
an image): of 13.5 million pairs, 58 pass the first check and none pass the second, while all copies saved again at JPEG
quality 50 pass both. Copies that were turned, mirrored or cropped are not found.

Crops that were rotated have black corners, which are alike in many images, so both checks would compare the corners. A
pair with such corners must therefore agree in its content as well (`pelagia.dataset.content`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.content import LEAST_AGREEMENT, agreement, content_of
from pelagia.images.preprocess import Image, PreprocessSpec, fit

Floats = NDArray[np.float32]

FITTED = PreprocessSpec(size=48)
"""Images are compared at this size; a large JPEG may be decoded at a reduced scale for it."""
MOST_BITS = 4
"""Two near-duplicates differ in at most this many of the 64 bits of the hash."""
LEAST_CORRELATION = 0.97
"""The textures of two near-duplicates correlate at least this well."""
LEAST_WITH_CONTENT = 0.85
"""The same for two images with plain corners, whose contents must agree too (`LEAST_AGREEMENT`)."""
LARGEST_JOIN = 0.1
"""Groups are joined only as long as the joined group has at most this share of the images, or `SMALLEST_LIMIT`."""
SMALLEST_LIMIT = 10

_BANDS = 6  # two of six bands are equal if at most four bits differ
_SIDE = 16
_NEIGHBORS = 64
_AT_ONCE = 1 << 16
_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)

SIGNATURE_BYTES = 8 + _SIDE**2
"""The bytes of the hash and the texture; the content of an image with plain corners follows them."""


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """A pair of near-duplicates.

    Attributes:
        first, second: the indices of the two images.
        bits: how many of the 64 bits of the hash differ.
        correlation: the correlation of the textures, -1..1.
    """

    first: int
    second: int
    bits: int
    correlation: float


def signature_of(image: Image) -> bytes:
    """The bytes by which `find_near_duplicates` compares images: `SIGNATURE_BYTES`, and the content if there is one.

    Args:
        image: uint8, H x W x 3, RGB, 0..255.
    """
    gray = cv2.cvtColor(fit(image, FITTED), cv2.COLOR_RGB2GRAY).astype(np.float32)
    waves: Floats = np.asarray(cv2.dct(gray)[1:9, 1:9], np.float32)
    fine: Floats = np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), 2.0), np.float32)
    texture: Floats = np.asarray(cv2.resize(fine, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
    texture -= texture.mean()
    scale = 127 / max(4 * float(texture.std()), 1.0)  # a smaller spread is noise, not texture
    small = np.clip(np.round(texture * scale), -127, 127).astype(np.int8)
    return np.packbits(waves > np.median(waves)).tobytes() + small.tobytes() + content_of(image)


def find_near_duplicates(
    signatures: Sequence[bytes],
    groups: Sequence[object],
    most_bits: int = MOST_BITS,
    least_correlation: float = LEAST_CORRELATION,
) -> list[NearDuplicates]:
    """Near-duplicates in two different groups, sorted by their indices.

    If more than `_NEIGHBORS` images share two bands of the hash, each is compared only with the next ones in order of
    the hash. In a long series of copies this finds the neighbors, which is enough to join all of them.

    Args:
        signatures: one for each image, from `signature_of`.
        groups: one value for each image, such as its group or split. Pairs within one group are not searched.
        most_bits: the two checks, for other pictures than crops of two samples. All pairs that differ in at most
            `MOST_BITS` are found, and most of those with more.
        least_correlation: the other one.
    """
    if len(signatures) < 2:
        return []
    together = b"".join(signature[:SIGNATURE_BYTES] for signature in signatures)
    table = np.frombuffer(together, np.uint8).reshape(len(signatures), SIGNATURE_BYTES)
    contents = _Contents(signatures, least_correlation)
    hashes = table[:, :8].copy().view(np.uint64)[:, 0]
    textures = table[:, 8:].view(np.int8)
    group_numbers = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)[1]
    found: dict[tuple[int, int], NearDuplicates] = {}
    for first, second in _candidates(hashes, group_numbers):
        bits = _BITS[(hashes[first] ^ hashes[second]).view(np.uint8).reshape(-1, 8)].sum(axis=1)
        near = bits <= most_bits
        first, second, bits = first[near], second[near], bits[near]
        alike = _correlation(textures[first], textures[second])
        for index in np.flatnonzero(alike >= min(least_correlation, LEAST_WITH_CONTENT)):
            pair = int(min(first[index], second[index])), int(max(first[index], second[index]))
            if pair not in found and contents.confirm(pair, float(alike[index])):
                found[pair] = NearDuplicates(*pair, int(bits[index]), float(alike[index]))
    return [found[pair] for pair in sorted(found)]


class _Contents:
    """Decides about pairs whose hashes and textures are alike. The answers are kept, as pairs are found repeatedly."""

    def __init__(self, signatures: Sequence[bytes], least: float) -> None:
        self._least = least
        self._contents = {
            index: signature[SIGNATURE_BYTES:]
            for index, signature in enumerate(signatures)
            if len(signature) > SIGNATURE_BYTES
        }
        self._answers: dict[tuple[int, int], bool] = {}

    def confirm(self, pair: tuple[int, int], correlation: float) -> bool:
        """Whether two images are near-duplicates, given the correlation of their textures."""
        if pair[0] not in self._contents or pair[1] not in self._contents:
            return correlation >= self._least
        if correlation < LEAST_WITH_CONTENT:
            return False
        if pair not in self._answers:
            self._answers[pair] = agreement(*(self._contents[index] for index in pair)) >= LEAST_AGREEMENT
        return self._answers[pair]


def _candidates(
    hashes: NDArray[np.uint64], groups: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of different groups whose hashes agree in two of `_BANDS` bands, in blocks; a pair may be repeated."""
    edges = [64 * band // _BANDS for band in range(_BANDS + 1)]
    masks = [sum(1 << bit for bit in range(low, high)) for low, high in pairwise(edges)]
    for first_band, second_band in combinations(masks, 2):
        keys = hashes & np.uint64(first_band | second_band)
        order = np.lexsort((hashes, keys))
        sorted_keys = keys[order]
        start: NDArray[np.intp] = np.arange(len(order) - 1, dtype=np.intp)
        for step in range(1, _NEIGHBORS + 1):
            start = start[start + step < len(order)]
            start = start[sorted_keys[start] == sorted_keys[start + step]]
            if not len(start):
                break
            first, second = order[start], order[start + step]
            differ = groups[first] != groups[second]
            first, second = first[differ], second[differ]
            for part in range(0, len(first), _AT_ONCE):
                yield first[part : part + _AT_ONCE], second[part : part + _AT_ONCE]


def _correlation(left: NDArray[np.int8], right: NDArray[np.int8]) -> Floats:
    """Correlation of each row of texture with the same row of the other, -1..1; 0 if one has no texture."""
    first, second = left.astype(np.float32), right.astype(np.float32)
    product = (first * second).sum(axis=1)
    length = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    correlation: Floats = np.divide(product, length, out=np.zeros_like(product), where=length > 0)
    return correlation


@dataclass(frozen=True, slots=True)
class Joined:
    """Groups after joining those that share a near-duplicate.

    Attributes:
        groups: the group of each image: of the names that were joined, the fixed one, or the one that sorts first.
        apart: pairs whose groups were not joined: the joined group would be too large, or both groups are fixed.
        limit: the number of images that a joined group may have.
    """

    groups: list[str]
    apart: list[NearDuplicates]
    limit: int


def join_groups(
    groups: Sequence[str],
    pairs: Sequence[NearDuplicates],
    largest: float = LARGEST_JOIN,
    fixed: Collection[str] = frozenset(),
) -> Joined:
    """Joins groups that share a near-duplicate, the most similar pairs first.

    Args:
        groups: the group of each image.
        pairs: near-duplicates, as indices into ``groups``.
        largest: the share of all images that a joined group may have; `SMALLEST_LIMIT` images are always allowed.
        fixed: groups that keep their names; two of them are never joined.
    """
    limit = max(SMALLEST_LIMIT, int(largest * len(groups)))
    parent = {name: name for name in groups}
    size = Counter(groups)
    apart = []

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for pair in sorted(pairs, key=lambda pair: (-pair.correlation, pair.first, pair.second)):
        roots = root(groups[pair.first]), root(groups[pair.second])
        one, other = sorted(roots, key=lambda name: (name not in fixed, name))
        if one == other:
            continue
        if other in fixed or size[one] + size[other] > limit:
            apart.append(pair)
            continue
        parent[other] = one
        size[one] += size[other]
    names = [root(name) for name in groups]
    return Joined(names, [pair for pair in apart if names[pair.first] != names[pair.second]], limit)
