"""MODEL + images -> PREDICTIONS, with numpy, OpenCV and ONNX Runtime alone. Never imports torch.

The names below are the public interface; the commands use the same. `docs/model-file.md` shows them at work.
"""

from pelagia.model import ModelFile
from pelagia.predictions import Prediction, Survey
from pelagia.preprocess import load
from pelagia.sources import SourceImage, list_images
from pelagia_inference.classify import classify
from pelagia_inference.pipeline import predict
from pelagia_inference.session import Session
from pelagia_inference.setting import Setting

__all__ = [
    "ModelFile",
    "Prediction",
    "Session",
    "Setting",
    "SourceImage",
    "Survey",
    "classify",
    "list_images",
    "load",
    "predict",
]
