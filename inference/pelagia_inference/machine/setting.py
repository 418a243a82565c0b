"""How a machine's cores are shared between sessions, and the best way that `pelagia bench --apply` found for a model.

Invariant: the number of workers changes no result. The batch and the threads of a session may change a probability's
last digits, so a survey remembers them and goes on with them.
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
    """``workers`` sessions side by side, each computing in ``threads`` threads, ``batch`` images at once."""

    workers: int
    threads: int = 1
    batch: int = DEFAULT_BATCH

    def __str__(self) -> str:
        sessions = f"{self.workers} session{'s' * (self.workers != 1)}"
        return f"{sessions} x {self.threads} thread{'s' * (self.threads != 1)}, batch {self.batch}"


def default_setting(provider: str = CPU) -> Setting:
    """How a provider is used where nothing was measured: a session for each core; on a GPU, one with larger batches."""
    return Setting(usable_cores()) if provider_of(provider).on_cpu else Setting(1, usable_cores(), GPU_BATCH)


def completed(wish: Setting, provider: str, known: Sequence[Setting] = ()) -> Setting:
    """``wish`` with the first figure of ``known`` wherever it has a 0, and the provider's own where they have one too.

    A number of workers is taken only along with its threads: together they are the cores.
    """
    default = default_setting(provider)
    threads = next(one.threads for one in (wish, *known, default) if one.threads)
    batch = next(one.batch for one in (wish, *known, default) if one.batch)
    measured = next((one.workers for one in known if one.workers and one.threads == threads), 0)
    return Setting(wish.workers or measured or max(1, min(default.workers, usable_cores() // threads)), threads, batch)


def stored_setting(model_sha256: str) -> Setting | None:
    """What `bench --apply` found for a model on this machine's CPU with as many cores; None where it never ran."""
    entry = _read().get(model_sha256)
    if not isinstance(entry, dict) or entry.get("cores") != usable_cores():
        return None
    try:
        return Setting(int(entry["workers"]), int(entry["threads"]), int(entry["batch"]))
    except (KeyError, TypeError, ValueError):
        return None


def store_setting(model_sha256: str, setting: Setting) -> Path:
    """Remembers a setting for a model on this machine; the file it went to."""
    path = _path()
    entries = _read() | {model_sha256: {**asdict(setting), "cores": usable_cores()}}
    write_text(path, json.dumps(entries, indent=2) + "\n")
    return path


def _path() -> Path:
    return (folder_from_environment(HOME_VARIABLE) or user_folder("config")) / _FILE


def _read() -> dict[str, object]:
    """An unreadable or damaged file is as good as none: it holds nothing that cannot be measured again."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
