"""What passes between the parts of Pelagia: the dataset, the model and the predictions. No torch, no onnxruntime."""

import os

MAX_PIXELS = 1 << 28
"""The largest image that is decoded: 16,384 x 16,384."""

# OpenCV reads these when it is first imported, whichever module does that.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # a bad image is reported as a row, not as noise on the terminal

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up when somebody asks: that takes longer than a worker process takes to start."""
    if name != "__version__":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pelagia")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
