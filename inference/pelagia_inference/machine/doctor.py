"""`pelagia doctor`: checks whether this machine can classify images, and says what to do if it cannot."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import onnxruntime as ort
import psutil

from pelagia import __version__
from pelagia.errors import InputError, PelagiaError
from pelagia.model.metadata import ModelFile
from pelagia.shell import package_with
from pelagia.system.checks import Check
from pelagia.system.cores import usable_cores
from pelagia.system.locking import REMEDY, locking_fault
from pelagia_inference.machine.providers import CPU, installed, open_session, runtimes
from pelagia_inference.machine.verify import verify

_MIN_DISK_BYTES = 1e9
_MIN_MEMORY_BYTES = 1e9
_RELU_MODEL = (  # an ONNX file with one Relu
    b'\x08\x08:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


def examine(folder: Path, model: Path | None = None) -> list[Check]:
    """Checks the machine, the ``folder`` where surveys will be written, and a model if one is given."""
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
    """A check, which failed if it has a remedy."""
    return Check(name, not remedy, found, remedy)


def _software() -> Check:
    versions = f"pelagia {__version__}, Python {platform.python_version()}, ONNX Runtime {ort.__version__}, "
    return _check("software", f"{versions}OpenCV {cv2.__version__}, {platform.platform(terse=True)}")


def _processor() -> Check:
    features = cv2.getCPUFeaturesLine()
    found = f"{usable_cores()} cores, {platform.machine()}, OpenCV uses: {features or 'no special instructions'}"
    if platform.machine().lower() in ("x86_64", "amd64") and "AVX2" not in features.replace("*AVX2?", ""):
        remedy = "the processor has no AVX2, so Pelagia works but is much slower: use a newer computer if you can"
        return _check("processor", found, remedy)
    return _check("processor", found)


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB are free"
    remedy = "close other programs: a run takes about 200 MB of memory, and 100 MB more for each core beyond two"
    return _check("memory", found, remedy if memory.total < _MIN_MEMORY_BYTES else "")


def _providers() -> Check:
    """Checks which providers are installed and start. A package for a GPU may be installed although there is no GPU."""
    if len(runtimes()) > 1:
        remedy = "they overwrite each other's files: uninstall all of them, then install the one that you need"
        return _check("providers", f"several ONNX Runtimes are in one environment: {', '.join(runtimes())}", remedy)
    found, faults = [], []
    for name in installed():
        try:
            open_session(_RELU_MODEL, name, 1)
            found.append(name)
        except InputError as error:
            faults.append(str(error))
    if CPU not in found:
        faults.append(f"the CPU does not work either: pip install --force-reinstall {package_with('inference')}")
    return _check("providers", ", ".join(found), "; ".join(faults))


def _disk(folder: Path) -> Check:
    existing = _existing(folder)
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB are free at {existing}"
    remedy = "free some space, or choose another folder with --out"
    return _check("disk", found, remedy if free < _MIN_DISK_BYTES else "")


def _locking(folder: Path) -> Check:
    """Checks that locks keep a second run out. Without them, as on some network drives, two runs would mix results."""
    existing = _existing(folder)
    try:
        fault = locking_fault(existing)
    except OSError as error:
        return _check(
            "file locking", f"cannot write to {existing}: {error.strerror}", "choose a folder that you may write to"
        )
    return _check("file locking", f"{fault} ({existing})" if fault else f"works at {existing}", REMEDY if fault else "")


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest folder above it that exists."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())


def _model(model: Path) -> Check:
    """Verifies the reference images, on the CPU and on each accelerator that starts."""
    differences = []
    try:
        file = ModelFile.read(model)
        for name in installed():
            with suppress(InputError):  # the check of the providers reports what does not start
                differences.append(f"{verify(file, name).max_probability_difference:.2g} on {name}")
    except PelagiaError as error:
        return _check("model", str(error), "do what the line above says")
    return _check("model", f"{model} gives the trainer's results here; largest difference {', '.join(differences)}")
