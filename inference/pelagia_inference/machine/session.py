"""One loaded model. It takes uint8 pixels, and image sizes if the model needs them; it returns probabilities, and
out-of-distribution scores if the model has them.

Invariant: a session computes in the number of threads that it was given. By default, that is only the calling thread,
so the caller decides how many cores are busy. By default ONNX Runtime uses every core for every session, which is
slower when several sessions run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.errors import ModelError, PelagiaError, first_line
from pelagia.images.preprocess import Fitted
from pelagia.model.graph import EMBEDDING_NAME, INPUT_NAME, OUTPUT_NAME, SIZE_NAME, UNKNOWN_NAME, Graph
from pelagia_inference.machine.providers import CPU, open_session

if TYPE_CHECKING:
    from pelagia.model.metadata import ModelFile


@dataclass(frozen=True, slots=True)
class Answers:
    """The outputs of a model for N images.

    Attributes:
        probabilities: float32, N x classes; rows sum to 1.
        unknown: out-of-distribution scores, float32, N; higher for an image that is less like the training images.
            None if the model has no such score.
        embedding: float32, N x D; None if the session does not compute it.
    """

    probabilities: NDArray[np.float32]
    unknown: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None

    @property
    def scores(self) -> NDArray[np.float32]:
        """``unknown``, for a model that has the score. Raises ValueError if the model has no score."""
        if self.unknown is None:
            raise ValueError("this model has no out-of-distribution score")
        return self.unknown


class Session:
    """A model in ONNX Runtime.

    Args:
        model: the file, read and validated, or its graph.
        provider: a key of `pelagia_inference.machine.providers.PROVIDERS`.
        threads: the number of threads that a call computes in; 1: only the calling thread.
        embedding: whether the embedding is an answer too, of a model that has it; it is not copied otherwise.

    Attributes:
        graph: the graph that the session computes.
        takes_size: whether the model takes the images' sizes as well as their pixels.

    Raises:
        ModelError: the graph is damaged, or its inputs and outputs are not those of a Pelagia model.
        InputError: the provider is not installed or does not start.
    """

    def __init__(
        self, model: ModelFile | Graph, provider: str = CPU, threads: int = 1, *, embedding: bool = False
    ) -> None:
        cv2.setNumThreads(1)
        self.graph = model if isinstance(model, Graph) else model.graph
        try:
            self._session = open_session(self.graph.data, provider, threads)
        except PelagiaError:
            raise
        except Exception as error:  # ONNX Runtime's own exceptions have no common base class
            raise ModelError(
                f"ONNX Runtime cannot load {self.graph.path}: {first_line(error)}; copy the file again"
            ) from None
        wanted = {
            OUTPUT_NAME: bool(self.graph.classes),
            UNKNOWN_NAME: self.graph.scores_unknown,
            EMBEDDING_NAME: embedding and self.graph.embedding > 0,
        }
        self._outputs = [name for name, asked in wanted.items() if asked]
        self.takes_size = self._require_fitting_graph()

    def _require_fitting_graph(self) -> bool:
        """Compares the graph's inputs and outputs with its metadata. Returns whether the model takes sizes."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        size = self.graph.preprocess.size
        shape = list(inputs[0].shape)[1:]
        names, output_names = [value.name for value in inputs], {value.name for value in outputs}
        known = names in ([INPUT_NAME], [INPUT_NAME, SIZE_NAME])
        if not known or shape != [size, size, 3] or not output_names.issuperset(self._outputs):
            raise ModelError(
                f"the graph of {self.graph.path} does not fit its metadata (input {inputs[0].name} {shape}): "
                "export it again"
            )
        return len(names) > 1

    def probabilities(self, pixels: NDArray[np.uint8], sizes: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The class probabilities of `answers`: float32, N x classes."""
        return self.answers(pixels, sizes).probabilities

    def answers(self, pixels: NDArray[np.uint8], sizes: NDArray[np.float32] | None = None) -> Answers:
        """All outputs of the model for N images.

        Args:
            pixels: uint8, N x size x size x 3, RGB, as `pelagia.images.preprocess.load` returns them.
            sizes: float32, N x 3, as `stacked` returns them; required if `takes_size`, else ignored.

        Raises:
            ModelError: ONNX Runtime fails, for example because memory is short; or the model takes sizes and
                ``sizes`` is None.
        """
        inputs: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {INPUT_NAME: pixels}
        if self.takes_size:
            if sizes is None:
                raise ModelError(
                    f"{self.graph.path} takes the images' sizes as well as their pixels: pass both results of "
                    "`pelagia_inference.stacked`, of images that `load_sized` returned"
                )
            inputs[SIZE_NAME] = sizes
        try:
            found = dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        except Exception as error:  # ONNX Runtime's own exceptions have no common base class
            raise ModelError(
                f"ONNX Runtime fails on {len(pixels)} images with {self.graph.path}: {first_line(error)}; "
                "try --batch 1 and --workers 1"
            ) from None
        probabilities = found[OUTPUT_NAME] if self.graph.classes else np.empty((len(pixels), 0), np.float32)
        return Answers(probabilities, found.get(UNKNOWN_NAME), found.get(EMBEDDING_NAME))


def stacked(
    images: Sequence[Fitted], pixel_sizes: Sequence[float] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The arguments of `Session.answers` for some images.

    Args:
        images: at least one, as `pelagia.images.preprocess.load_sized` returns them.
        pixel_sizes: the length of a pixel's side in micrometers, for each image, as `pelagia.images.pixel_size`
            returns it; None: not known.

    Returns:
        uint8, N x size x size x 3; and float32, N x 3: width and height in pixels, micrometers per pixel (0: unknown).
    """
    micrometers = pixel_sizes if pixel_sizes is not None else [0.0] * len(images)
    sizes = [(image.width, image.height, length) for image, length in zip(images, micrometers, strict=True)]
    return np.stack([image.pixels for image in images]), np.array(sizes, np.float32)
