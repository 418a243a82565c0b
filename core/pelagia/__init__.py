"""What passes between the parts of Pelagia: the dataset, the model and the predictions. No torch, no onnxruntime."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pelagia")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
