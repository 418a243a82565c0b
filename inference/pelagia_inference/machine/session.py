"""One loaded model: uint8 pixels in, and sizes where it asks for them; probabilities out, and the score of the unknown
where the model has one.

Invariant: a session computes in as many threads as it was told, by default the one that calls it, so that the caller
decides how many cores are busy. ONNX Runtime left alone takes every core for every session and goes slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.errors import ModelError, PelagiaError
from pelagia.images.preprocess import Fitted
from pelagia.model.graph import INPUT_NAME, OUTPUT_NAME, SIZE_NAME, UNKNOWN_NAME, Graph
from pelagia_inference.machine.providers import CPU, open_session

if TYPE_CHECKING:
    from pelagia.model.metadata import ModelFile


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of N images.

    Attributes:
        probabilities: float32, N x classes; rows sum to 1.
        unknown: float32, N, higher where an image is less like the known ones; None where the model does not say.
    """

    probabilities: NDArray[np.float32]
    unknown: NDArray[np.float32] | None = None

    @property
    def scores(self) -> NDArray[np.float32]:
        """``unknown`` of a model that says it."""
        if self.unknown is None:
            raise ValueError("this model gives no score of the unknown")
        return self.unknown


class Session:
    """A model in ONNX Runtime.

    Args:
        model: the file, read and validated, or its graph.
        provider: a key of `pelagia_inference.machine.providers.PROVIDERS`.
        threads: threads that a call computes in; 1 is the calling thread alone.

    Raises:
        ModelError: the graph is damaged or has other inputs and outputs than ours.
        InputError: the provider is not installed, or does not start.
    """

    def __init__(self, model: ModelFile | Graph, provider: str = CPU, threads: int = 1) -> None:
        cv2.setNumThreads(1)
        self.graph = model if isinstance(model, Graph) else model.graph
        try:
            self._session = open_session(self.graph.data, provider, threads)
        except PelagiaError:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own that share no base but Exception
            first = str(error).splitlines()[0]
            raise ModelError(f"ONNX Runtime cannot load {self.graph.path}: {first}; copy the file again") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        size = self.graph.preprocess.size
        shape = list(inputs[0].shape)[1:]
        self._outputs = [OUTPUT_NAME, UNKNOWN_NAME] if self.graph.scores_unknown else [OUTPUT_NAME]
        given, names = {one.name for one in outputs}, [one.name for one in inputs]
        self.takes_size = names == [INPUT_NAME, SIZE_NAME]
        known = names == [INPUT_NAME] or self.takes_size
        if not known or shape != [size, size, 3] or not given.issuperset(self._outputs):
            raise ModelError(
                f"the graph of {self.graph.path} does not fit its metadata (input {inputs[0].name} {shape}): "
                "export it again"
            )

    def probabilities(self, pixels: NDArray[np.uint8], sizes: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Class probabilities of fitted images, as of `answers`: float32, N x classes."""
        return self.answers(pixels, sizes).probabilities

    def answers(self, pixels: NDArray[np.uint8], sizes: NDArray[np.float32] | None = None) -> Answers:
        """All that the model says of fitted images.

        Args:
            pixels: uint8, N x size x size x 3, RGB, as `pelagia.images.preprocess.load` gives.
            sizes: float32, N x 3, as `stacked` gives; needed where `takes_size`, ignored elsewhere.

        Raises:
            ModelError: ONNX Runtime fails, as where memory is short; or there are no sizes, and the model takes them.
        """
        inputs: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {INPUT_NAME: pixels}
        if self.takes_size:
            if sizes is None:
                raise ModelError(
                    f"{self.graph.path} takes the images' sizes beside their pixels: give what "
                    "`pelagia_inference.stacked` makes of `load_sized`"
                )
            inputs[SIZE_NAME] = sizes
        try:
            return Answers(*self._session.run(self._outputs, inputs))
        except Exception as error:  # its classes share no base but Exception
            raise ModelError(
                f"ONNX Runtime fails on {len(pixels)} images with {self.graph.path}: {str(error).splitlines()[0]}; "
                "try --batch 1 and --workers 1"
            ) from None


def stacked(
    images: Sequence[Fitted], pixel_sizes: Sequence[float] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What `Session.answers` takes, of images that `pelagia.images.preprocess.load_sized` gave, at least one.

    Args:
        pixel_sizes: micrometres along the side of a pixel of each, as `pelagia.images.pixel_size` gives; None: unknown.

    Returns:
        uint8, N x size x size x 3; and float32, N x 3: width, height, micrometres; 0 is unknown.
    """
    micrometres = pixel_sizes if pixel_sizes is not None else [0.0] * len(images)
    sizes = [(image.width, image.height, one) for image, one in zip(images, micrometres, strict=True)]
    return np.stack([image.pixels for image in images]), np.array(sizes, np.float32)
