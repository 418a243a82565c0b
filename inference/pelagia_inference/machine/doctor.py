"""`pelagia doctor`: is this machine fit to classify, and what to mend where it is not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import onnxruntime as ort

from pelagia import __version__
from pelagia.errors import InputError, PelagiaError
from pelagia.model.metadata import ModelFile
from pelagia.system.checks import Check
from pelagia.system.cores import usable_cores
from pelagia.system.locking import REMEDY, locking_fault
from pelagia_inference.machine.providers import CPU, installed, open_session, runtimes
from pelagia_inference.machine.verify import verify

_LEAST_DISK = 1e9
_LEAST_MEMORY = 1e9
_TINY = (  # an ONNX model of one Relu
    b'\x08\x08:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


def examine(folder: Path, model: Path | None = None) -> list[Check]:
    """Looks at the machine, at the ``folder`` where surveys are to go, and at a model if one is named."""
    checks: list[Callable[[], Check]] = [
        _software,
        _processor,
        _memory,
        _providers,
        lambda: _disk(folder),
        lambda: _locking(folder),
    ]
    if model is not None:
        checks.append(lambda: _model(model))
    return [check() for check in checks]


def _check(name: str, found: str, remedy: str = "") -> Check:
    """A check that failed where there is something to do."""
    return Check(name, not remedy, found, remedy)


def _software() -> Check:
    versions = f"pelagia {__version__}, Python {platform.python_version()}, ONNX Runtime {ort.__version__}, "
    return _check("software", f"{versions}OpenCV {cv2.__version__}, {platform.platform(terse=True)}")


def _processor() -> Check:
    features = cv2.getCPUFeaturesLine()
    found = f"{usable_cores()} cores, {platform.machine()}, OpenCV uses: {features or 'nothing special'}"
    if platform.machine().lower() in ("x86_64", "amd64") and "AVX2" not in features.replace("*AVX2?", ""):
        return _check("processor", found, "no AVX2: it works, at a fraction of the speed; a newer laptop would pay")
    return _check("processor", found)


def _memory() -> Check:
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return _check("memory", f"not known on {sys.platform}")
    free, total = (os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
    remedy = "close other programs: a run takes some 200 MB, and 100 more for each core beyond two"
    return _check("memory", found, remedy if total < _LEAST_MEMORY else "")


def _providers() -> Check:
    """What is installed, and of that what starts: a package for a GPU is installed as well where there is none."""
    if len(runtimes()) > 1:
        remedy = "keep one: they overwrite each other's files; uninstall all of them and install the one you need again"
        return _check("providers", f"several ONNX Runtimes in one environment: {', '.join(runtimes())}", remedy)
    found, faults = [], []
    for name in installed():
        try:
            open_session(_TINY, name, 1)
            found.append(name)
        except InputError as error:
            faults.append(str(error))
    if CPU not in found:
        faults.append("pip install --force-reinstall 'pelagia[inference]'")
    return _check("providers", ", ".join(found), "; ".join(faults))


def _disk(folder: Path) -> Check:
    present = _present(folder)
    free = shutil.disk_usage(present).free
    found = f"{free / 1e9:.1f} GB are free at {present}"
    return _check("disk", found, "free some space, or choose another folder with --out" if free < _LEAST_DISK else "")


def _locking(folder: Path) -> Check:
    """A second writer must be refused: on some network drives it is not, and two runs would mix."""
    present = _present(folder)
    try:
        fault = locking_fault(present)
    except OSError as error:
        return _check(
            "file locking", f"cannot write to {present}: {error.strerror}", "choose a folder that you may write"
        )
    return _check("file locking", f"{fault} ({present})" if fault else f"works at {present}", REMEDY if fault else "")


def _present(folder: Path) -> Path:
    """``folder``, or the nearest one above it that is there."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())


def _model(model: Path) -> Check:
    """The reference images, on the CPU and on each accelerator that starts."""
    differences = []
    try:
        file = ModelFile.read(model)
        for name in installed():
            with suppress(InputError):  # of what does not start, the providers' own check tells
                differences.append(f"{verify(file, name).max_probability_difference:.2g} on {name}")
    except PelagiaError as error:
        return _check("model", str(error), "see above")
    return _check("model", f"{model} gives the trainer's answers, to {', '.join(differences)}")
