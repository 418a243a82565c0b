"""What the parts of Pelagia exchange: the dataset, the model and the predictions. Needs no torch and no onnxruntime."""

import os

MAX_PIXELS = 1 << 28
"""The largest image that is decoded: 16,384 x 16,384."""

# OpenCV reads these when it is first imported, whichever module does that.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # a damaged image is a row of the result, not messages on the terminal

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up only when it is used: the lookup would slow down the start of a worker process."""
    if name != "__version__":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pelagia")
    except PackageNotFoundError:  # a source tree that is not installed
        return "0+unknown"
