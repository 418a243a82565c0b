"""What the parts of Pelagia exchange: datasets, model files and surveys. Imports neither torch nor onnxruntime.

The names below are the public interface; `docs/reference/python-api.md` has examples. Each is imported when it is
first used, because a worker process needs few of them.
"""

import os
from typing import TYPE_CHECKING

from pelagia.images.limits import MAX_PIXELS
from pelagia.system.lazy import lazy_names

# OpenCV reads these variables when any module first imports it.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # a damaged image is reported in the results, not here

_MODULES = {
    "Dataset": "pelagia.dataset.schema",
    "ModelFile": "pelagia.model.metadata",
    "PelagiaError": "pelagia.errors",
    "Survey": "pelagia.survey.journal",
    "Taxonomy": "pelagia.taxonomy",
    "__version__": "pelagia.system.version",
    "load_taxonomy": "pelagia.taxonomy",
    "simulate_survey": "pelagia.synthetic.survey",
}
"""Public name -> the module that defines it."""

__all__ = list(_MODULES)

if TYPE_CHECKING:
    from pelagia.dataset.schema import Dataset as Dataset
    from pelagia.errors import PelagiaError as PelagiaError
    from pelagia.model.metadata import ModelFile as ModelFile
    from pelagia.survey.journal import Survey as Survey
    from pelagia.synthetic.survey import simulate_survey as simulate_survey
    from pelagia.system.version import __version__ as __version__
    from pelagia.taxonomy import Taxonomy as Taxonomy
    from pelagia.taxonomy import load_taxonomy as load_taxonomy
else:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
