"""One loaded model: uint8 pixels in, probabilities out.

Invariant: a session computes in as many threads as it was told, by default the one that calls it, so that the caller
decides how many cores are busy. ONNX Runtime left alone takes every core for every session and goes slower.
"""

from __future__ import annotations

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pelagia.errors import InputError, ModelError, did_you_mean
from pelagia.model import INPUT_NAME, OUTPUT_NAME, ModelFile

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Session:
    """A model in ONNX Runtime.

    Args:
        model: the file, read and validated.
        provider: a key of `PROVIDERS`.
        threads: threads that a call computes in; 1 is the calling thread alone.

    Raises:
        ModelError: the graph is damaged or has other inputs and outputs than ours.
        InputError: the provider is not installed.
    """

    def __init__(self, model: ModelFile, provider: str = "cpu", threads: int = 1) -> None:
        cv2.setNumThreads(1)
        self.model = model
        providers = [_provider(provider)]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model.data, options, providers=providers)
        except Exception as error:  # ONNX Runtime raises classes of its own that share no base but Exception
            first = str(error).splitlines()[0]
            raise ModelError(f"ONNX Runtime cannot load {model.path}: {first}; copy the file again") from None
        if self._session.get_providers()[0] != providers[0]:
            raise InputError(f"the provider '{provider}' is installed and does not start: check its driver, or use cpu")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        size = model.metadata.preprocess.size
        shape = list(inputs[0].shape)[1:]
        if inputs[0].name != INPUT_NAME or shape != [size, size, 3] or OUTPUT_NAME not in [one.name for one in outputs]:
            raise ModelError(
                f"the graph of {model.path} does not fit its metadata (input {inputs[0].name} {shape}): export it again"
            )

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities of fitted images.

        Args:
            pixels: uint8, N x size x size x 3, RGB, as `pelagia.preprocess.load` gives.

        Returns:
            float32, N x classes; rows sum to 1.
        """
        result: NDArray[np.float32] = self._session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
        return result


def _provider(name: str) -> str:
    if name not in PROVIDERS:
        raise InputError(
            f"there is no provider '{name}'{did_you_mean(name, PROVIDERS)}: choose {' or '.join(PROVIDERS)}"
        )
    if PROVIDERS[name] not in ort.get_available_providers():
        raise InputError(
            f"the provider '{name}' is not installed: pip install 'pelagia[inference-gpu]', or use --provider cpu"
        )
    return PROVIDERS[name]
