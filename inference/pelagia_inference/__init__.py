"""Model file + images -> predictions, with only numpy, OpenCV and ONNX Runtime. Never imports torch.

The names below are the public interface, and the commands use the same functions; `docs/reference/python-api.md`
has examples. Each is imported when it is first used: a worker process needs few of them, and starts in half the
time without the others.
"""

from typing import TYPE_CHECKING

from pelagia.system.lazy import lazy_names

_MODULES = {
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
"""Public name -> the module that defines it."""

__all__ = list(_MODULES)

if TYPE_CHECKING:
    from pelagia.images.preprocess import load as load
    from pelagia.images.preprocess import load_sized as load_sized
    from pelagia.model.metadata import ModelFile as ModelFile
    from pelagia.sources import SourceImage as SourceImage
    from pelagia.sources import list_images as list_images
    from pelagia.survey.journal import Prediction as Prediction
    from pelagia.survey.journal import Survey as Survey
    from pelagia_inference.exports.results import write_results as write_results
    from pelagia_inference.machine.session import Session as Session
    from pelagia_inference.machine.session import stacked as stacked
    from pelagia_inference.machine.setting import Setting as Setting
    from pelagia_inference.machine.verify import verify as verify
    from pelagia_inference.survey.pipeline import predict as predict
    from pelagia_inference.survey.progress import SurveyProgress as SurveyProgress
    from pelagia_inference.survey.runner import SurveyResult as SurveyResult
    from pelagia_inference.survey.runner import classify as classify
else:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
