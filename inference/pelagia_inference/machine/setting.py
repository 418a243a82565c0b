"""How sessions share a machine's cores, and the fastest setting that `pelagia bench --apply` found for a model.

Invariant: the number of workers changes no result. The batch size and the threads of a session may change the last
digits of a probability, so a survey stores them and is resumed with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pelagia.system.cores import usable_cores
from pelagia.system.files import write_text
from pelagia.system.paths import folder_from_environment, user_folder
from pelagia_inference.machine.providers import CPU, provider_of

DEFAULT_BATCH = 8
GPU_BATCH = 32
HOME_VARIABLE = "PELAGIA_CONFIG_HOME"
_FILE = "bench.json"


@dataclass(frozen=True)
class Setting:
    """``workers`` sessions at the same time, each of which computes ``batch`` images at once in ``threads`` threads.

    A 0 means: not specified.
    """

    workers: int
    threads: int = 1
    batch: int = DEFAULT_BATCH

    def __str__(self) -> str:
        sessions = f"{self.workers} session{'s' * (self.workers != 1)}"
        return f"{sessions} x {self.threads} thread{'s' * (self.threads != 1)}, batch {self.batch}"


def default_setting(provider: str = CPU) -> Setting:
    """The setting of a provider for which nothing was measured.

    It is one session for each core; on a GPU, one session with larger batches.
    """
    return Setting(usable_cores()) if provider_of(provider).on_cpu else Setting(1, usable_cores(), GPU_BATCH)


def complete_setting(wanted: Setting, provider: str, known: Sequence[Setting] = ()) -> Setting:
    """Replaces each 0 of ``wanted`` by the first value of ``known`` that is not 0, else by the provider's default.

    A number of workers from ``known`` is used only if its threads are used as well: the two together fill the cores.
    """
    default = default_setting(provider)
    threads = next(setting.threads for setting in (wanted, *known, default) if setting.threads)
    batch = next(setting.batch for setting in (wanted, *known, default) if setting.batch)
    workers = wanted.workers or next((k.workers for k in known if k.workers and k.threads == threads), 0)
    return Setting(workers or max(1, min(default.workers, usable_cores() // threads)), threads, batch)


def stored_setting(model_sha256: str) -> Setting | None:
    """What `bench --apply` stored for a model on this machine's CPU with as many cores as now; None if nothing."""
    entry = _read().get(model_sha256)
    if not isinstance(entry, dict) or entry.get("cores") != usable_cores():
        return None
    try:
        return Setting(int(entry["workers"]), int(entry["threads"]), int(entry["batch"]))
    except (KeyError, TypeError, ValueError):
        return None


def store_setting(model_sha256: str, setting: Setting) -> Path:
    """Stores a setting for a model on this machine. Returns the file that holds it."""
    path = _path()
    entries = _read() | {model_sha256: {**asdict(setting), "cores": usable_cores()}}
    write_text(path, json.dumps(entries, indent=2) + "\n")
    return path


def _path() -> Path:
    return (folder_from_environment(HOME_VARIABLE) or user_folder("config")) / _FILE


def _read() -> dict[str, object]:
    """The stored settings; empty if the file is missing or damaged, since `bench` can measure them again."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
