"""Labels images in Label Studio: starts a local server, pushes images, pulls labels, imports datasets, finds faults.

The names below are the public interface; the commands use the same functions. Each name is imported when it is first
used. Only the modules `commands` and `dataset_commands` print. No module reads a secret from a configuration file or
from the command line.
"""

from typing import TYPE_CHECKING

from pelagia.system.lazy import lazy_names

_MODULES = {
    "connect": "pelagia_labeling.studio.connection",
    "import_dataset": "pelagia_labeling.importers.dataset",
    "pull": "pelagia_labeling.labels.pull",
    "push": "pelagia_labeling.tasks.push",
    "start_studio": "pelagia_labeling.studio.server",
    "stop_studio": "pelagia_labeling.studio.server",
}
"""Public name -> the module that defines it."""

__all__ = list(_MODULES)

if TYPE_CHECKING:
    from pelagia_labeling.importers.dataset import import_dataset as import_dataset
    from pelagia_labeling.labels.pull import pull as pull
    from pelagia_labeling.studio.connection import connect as connect
    from pelagia_labeling.studio.server import start_studio as start_studio
    from pelagia_labeling.studio.server import stop_studio as stop_studio
    from pelagia_labeling.tasks.push import push as push
else:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
