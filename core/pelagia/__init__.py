"""What passes between the parts of Pelagia: the dataset, the model and the predictions. No torch, no onnxruntime."""

import os
from importlib.metadata import PackageNotFoundError, version

MAX_PIXELS = 1 << 28
"""The largest image that is decoded: 16,384 x 16,384."""

# OpenCV reads these when it is first imported, whichever module does that.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # a bad image is reported as a row, not as noise on the terminal

try:
    __version__ = version("pelagia")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
