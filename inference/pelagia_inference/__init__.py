"""MODEL + images -> PREDICTIONS, with numpy, OpenCV and ONNX Runtime alone. Never imports torch.

The names below are the public interface; the commands use the same. `docs/reference/model-file.md` shows them at work.
They are imported when they are asked for: a worker process needs few of them, and starts in half the time without the
others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pelagia.images.preprocess import load as load
    from pelagia.images.preprocess import load_sized as load_sized
    from pelagia.model.metadata import ModelFile as ModelFile
    from pelagia.sources import SourceImage as SourceImage
    from pelagia.sources import list_images as list_images
    from pelagia.survey.journal import Prediction as Prediction
    from pelagia.survey.journal import Survey as Survey
    from pelagia_inference.machine.session import Session as Session
    from pelagia_inference.machine.session import stacked as stacked
    from pelagia_inference.machine.setting import Setting as Setting
    from pelagia_inference.survey.pipeline import predict as predict
    from pelagia_inference.survey.runner import classify as classify

_PLACES = {
    "ModelFile": "pelagia.model.metadata",
    "Prediction": "pelagia.survey.journal",
    "Session": "pelagia_inference.machine.session",
    "Setting": "pelagia_inference.machine.setting",
    "SourceImage": "pelagia.sources",
    "Survey": "pelagia.survey.journal",
    "classify": "pelagia_inference.survey.runner",
    "list_images": "pelagia.sources",
    "load": "pelagia.images.preprocess",
    "load_sized": "pelagia.images.preprocess",
    "predict": "pelagia_inference.survey.pipeline",
    "stacked": "pelagia_inference.machine.session",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
