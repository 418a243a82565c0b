"""The environment of a run: what is needed to repeat the run, or to find out why another run differs."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import timm
import torch

from pelagia import __version__
from pelagia.system.cores import usable_cores


def environment(device: str) -> dict[str, str]:
    """Versions of the code and the packages, and a description of the machine.

    Args:
        device: a description of the devices of the run.
    """
    packages = {module.__name__: module.__version__ for module in (torch, timm, cv2, np)}
    packages["albumentations"] = version("albumentations")
    return {
        "pelagia": __version__,
        "code": _commit(),
        "python": platform.python_version(),
        "device": device,
        "machine": f"{platform.node()}, {platform.platform()}, {usable_cores()} cores, {_capability()}",
        **packages,
    }


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """One text ``name: old -> new`` for each entry that differs."""
    return [f"{name}: {old.get(name)} -> {new.get(name)}" for name in new if old.get(name) != new.get(name)]


def _commit() -> str:
    """The commit of Pelagia's checkout, with ``-dirty`` if files were changed; empty if there is no checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=20)
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=here, capture_output=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == tracked.returncode == 0 else ""


def _capability() -> str:
    return torch.backends.cpu.get_cpu_capability()
