"""Dataset -> model file. The only part that may import torch, timm and albumentations.

The names below are the public interface, and the commands use the same functions. Each is imported when it is first
used, so that `import pelagia_training` does not import torch.

torch computes with OpenMP threads, which by default spin while they wait for each other. When another process
needs a core, each training step then waits for a thread that is not running: on two cores with three other busy
processes, a small network trained at 12 to 15 images/s, and at 208 to 327 with waiting threads asleep; on an idle
machine, sleeping cost 4 to 8%. OpenMP reads the variable when torch is first imported, so it is set here.
"""

import os
from typing import TYPE_CHECKING

from pelagia.system.lazy import lazy_names

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks a server for a newer version

_MODULES = {
    "TrainConfig": "pelagia_training.config",
    "cross_validate": "pelagia_training.studies.folds",
    "evaluate": "pelagia_training.evaluation.evaluate",
    "export": "pelagia_training.export.export",
    "export_ensemble": "pelagia_training.ensemble.export",
    "load_config": "pelagia.config",
    "plan_final": "pelagia_training.runs.final",
    "quantize": "pelagia_training.export.quantize",
    "train": "pelagia_training.train",
}
"""Public name -> the module that defines it."""

__all__ = list(_MODULES)

if TYPE_CHECKING:
    from pelagia.config import load_config as load_config
    from pelagia_training.config import TrainConfig as TrainConfig
    from pelagia_training.ensemble.export import export_ensemble as export_ensemble
    from pelagia_training.evaluation.evaluate import evaluate as evaluate
    from pelagia_training.export.export import export as export
    from pelagia_training.export.quantize import quantize as quantize
    from pelagia_training.runs.final import plan_final as plan_final
    from pelagia_training.studies.folds import cross_validate as cross_validate
    from pelagia_training.train import train as train
else:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
