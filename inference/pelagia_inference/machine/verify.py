"""`pelagia model verify`: does this machine get the numbers that the trainer got?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pelagia.errors import ModelError
from pelagia.images.preprocess import ImageError, load_sized
from pelagia.model.metadata import ModelFile
from pelagia.system.files import sha256_of
from pelagia_inference.machine.providers import CPU
from pelagia_inference.machine.session import Session, stacked

_UPDATE = "update onnxruntime and opencv-python-headless and try again"


@dataclass(frozen=True)
class Verification:
    """Outcome of the self-test over the model's reference images."""

    images: int
    max_probability_difference: float


def verify(model: ModelFile, provider: str = CPU) -> Verification:
    """Decodes and classifies the reference images inside the model, one at a time, and compares.

    Raises:
        ModelError: a reference image is damaged, or a probability differs by more than the model's tolerance.
        InputError: the provider is not installed, or does not start.
    """
    who, remedy = "this machine's", "do not trust results from this machine; " + _UPDATE
    if provider != CPU:
        who, remedy = f"the provider {provider}'s", "use --provider cpu"
    whose, tolerance = "trainer", model.metadata.tolerance
    if model.metadata.quantisation is not None:
        whose, remedy = "file", remedy + ", or use the float model that it was made of"
    session = Session(model, provider)
    worst = 0.0
    for reference in model.metadata.references:
        if sha256_of(reference.data) != reference.sha256:
            raise ModelError(f"{model.path}: the reference image {reference.name} is damaged: copy the file again")
        try:
            fitted = load_sized(reference.data, model.metadata.preprocess)
        except ImageError as error:
            raise ModelError(
                f"{model.path}: the reference image {reference.name} cannot be decoded here: {error}"
            ) from None
        found = session.answers(*stacked([fitted], [reference.pixel_size_um]))
        difference = float(np.abs(found.probabilities[0] - np.asarray(reference.probabilities, np.float32)).max())
        worst = max(worst, difference)
        if not difference <= tolerance:
            raise ModelError(
                f"{model.path}: on the reference image {reference.name} {who} probabilities differ by "
                f"{difference:.2g} from the {whose}'s (allowed: {tolerance:g}): {remedy}"
            )
        if model.metadata.unknown is None or reference.unknown is None:
            continue
        off, allowed = abs(float(found.scores[0]) - reference.unknown), model.metadata.unknown.tolerance
        if not off <= allowed:
            raise ModelError(
                f"{model.path}: on the reference image {reference.name} {who} score of the unknown differs by "
                f"{off:.2g} from the {whose}'s (allowed: {allowed:g}): {remedy}"
            )
    return Verification(len(model.metadata.references), worst)
