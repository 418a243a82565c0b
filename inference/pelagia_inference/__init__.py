"""MODEL + images -> PREDICTIONS, with numpy, OpenCV and ONNX Runtime alone. Never imports torch.

The names below are the public interface; the commands use the same. `docs/model-file.md` shows them at work. They are
imported when they are asked for: a worker process needs few of them, and starts in half the time without the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pelagia.model import ModelFile as ModelFile
    from pelagia.predictions import Prediction as Prediction
    from pelagia.predictions import Survey as Survey
    from pelagia.preprocess import load as load
    from pelagia.preprocess import load_sized as load_sized
    from pelagia.sources import SourceImage as SourceImage
    from pelagia.sources import list_images as list_images
    from pelagia_inference.pipeline import predict as predict
    from pelagia_inference.runner import classify as classify
    from pelagia_inference.session import Session as Session
    from pelagia_inference.session import stacked as stacked
    from pelagia_inference.setting import Setting as Setting

_PLACES = {
    "ModelFile": "pelagia.model",
    "Prediction": "pelagia.predictions",
    "Session": "pelagia_inference.session",
    "Setting": "pelagia_inference.setting",
    "SourceImage": "pelagia.sources",
    "Survey": "pelagia.predictions",
    "classify": "pelagia_inference.runner",
    "list_images": "pelagia.sources",
    "load": "pelagia.preprocess",
    "load_sized": "pelagia.preprocess",
    "predict": "pelagia_inference.pipeline",
    "stacked": "pelagia_inference.session",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
