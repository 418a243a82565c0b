"""`pelagia model verify`: checks that this machine computes the same probabilities as the one that made the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pelagia.errors import ModelError
from pelagia.images.preprocess import ImageError, load_sized
from pelagia.model.metadata import ModelFile, ReferenceImage
from pelagia.system.files import sha256_of
from pelagia_inference.machine.providers import CPU
from pelagia_inference.machine.session import Answers, Session, stacked

_NOT_THIS_MACHINE = (
    "do not trust results from this machine; update onnxruntime and opencv-python-headless and try again"
)


@dataclass(frozen=True)
class Verification:
    """The result of the self-test over the model's reference images."""

    images: int
    max_probability_difference: float


def verify(model: ModelFile, provider: str = CPU) -> Verification:
    """Decodes and classifies the reference images in the model, one at a time, and compares the results.

    Raises:
        ModelError: a reference image is damaged, or a probability or an out-of-distribution score differs by more than
            the model's tolerance.
        InputError: the provider is not installed or does not start.
    """
    session = Session(model, provider)
    largest = 0.0
    for reference in model.metadata.references:
        found = _classify(model, session, reference)
        expected = np.asarray(reference.probabilities, np.float32)
        difference = float(np.abs(found.probabilities[0] - expected).max())
        largest = max(largest, difference)
        _require_close(model, provider, reference, "probabilities differ", difference, model.metadata.tolerance)
        if model.metadata.unknown is not None and reference.unknown is not None:
            difference = abs(float(found.scores[0]) - reference.unknown)
            what = "out-of-distribution score differs"
            _require_close(model, provider, reference, what, difference, model.metadata.unknown.tolerance)
    return Verification(len(model.metadata.references), largest)


def _classify(model: ModelFile, session: Session, reference: ReferenceImage) -> Answers:
    if sha256_of(reference.data) != reference.sha256:
        raise ModelError(f"{model.path}: the reference image {reference.name} is damaged: copy the file again")
    try:
        fitted = load_sized(reference.data, model.metadata.preprocess)
    except ImageError as error:
        raise ModelError(
            f"{model.path}: this machine cannot decode the reference image {reference.name}: {error}"
        ) from None
    return session.answers(*stacked([fitted], [reference.pixel_size_um]))


def _require_close(
    model: ModelFile, provider: str, reference: ReferenceImage, what: str, difference: float, allowed: float
) -> None:
    if difference <= allowed:  # False for NaN as well
        return
    owner, remedy = "this machine's", _NOT_THIS_MACHINE
    if provider != CPU:
        owner, remedy = f"the provider {provider}'s", "use --provider cpu"
    expected = "trainer"
    if model.metadata.quantisation is not None:
        expected, remedy = "file", f"{remedy}, or use the float model that this one was made from"
    raise ModelError(
        f"{model.path}: on the reference image {reference.name} {owner} {what} by {difference:.2g} from the "
        f"{expected}'s (allowed: {allowed:g}): {remedy}"
    )
