"""Images -> Label Studio -> DATASET: a local server, push, pull, importers, and a doctor for what goes wrong.

The names below are the public interface, and the commands use them as well. Each is imported when it is first used, so
that importing a dataset needs no label-studio-sdk. Only the modules of commands print; no module reads a secret from a
configuration file or the command line.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pelagia_labeling.doctor import examine as examine
    from pelagia_labeling.importers.corrections import Correction as Correction
    from pelagia_labeling.importers.corrections import correct as correct
    from pelagia_labeling.importers.dataset import import_dataset as import_dataset
    from pelagia_labeling.studio.connection import Connection as Connection
    from pelagia_labeling.studio.connection import connect as connect
    from pelagia_labeling.studio.server import Studio as Studio
    from pelagia_labeling.studio.server import start_studio as start_studio
    from pelagia_labeling.studio.server import stop_studio as stop_studio
    from pelagia_labeling.tasks.annotate import SubmitReport as SubmitReport
    from pelagia_labeling.tasks.annotate import submit_csv as submit_csv
    from pelagia_labeling.tasks.pull import PullReport as PullReport
    from pelagia_labeling.tasks.pull import pull as pull
    from pelagia_labeling.tasks.push import PushReport as PushReport
    from pelagia_labeling.tasks.push import push as push

_MODULES = {
    "Connection": "pelagia_labeling.studio.connection",
    "Correction": "pelagia_labeling.importers.corrections",
    "PullReport": "pelagia_labeling.tasks.pull",
    "PushReport": "pelagia_labeling.tasks.push",
    "Studio": "pelagia_labeling.studio.server",
    "SubmitReport": "pelagia_labeling.tasks.annotate",
    "connect": "pelagia_labeling.studio.connection",
    "correct": "pelagia_labeling.importers.corrections",
    "examine": "pelagia_labeling.doctor",
    "import_dataset": "pelagia_labeling.importers.dataset",
    "pull": "pelagia_labeling.tasks.pull",
    "push": "pelagia_labeling.tasks.push",
    "start_studio": "pelagia_labeling.studio.server",
    "stop_studio": "pelagia_labeling.studio.server",
    "submit_csv": "pelagia_labeling.tasks.annotate",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)
