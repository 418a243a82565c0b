"""What can compute the network: the execution providers of ONNX Runtime that Pelagia knows, and which one is taken.

Invariant: a provider computes in float32, as the trainer did; one that would round on the way (TF32, half precision) is
told not to. An accelerator is taken only where it gives the answers that the model carries, to `TOLERANCE`; so results
do not depend on it. Which one it was is part of a survey's settings.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import onnxruntime as ort

from pelagia.errors import InputError, PelagiaError, did_you_mean

CPU = "cpu"
AUTO = "auto"
AUTO_ORDER = ("cuda", "directml", "openvino")
"""What ``auto`` looks for before it takes the CPU: each of them somebody installed on purpose. CoreML is in every Mac's
ONNX Runtime, whether or not it is the faster one for a model, so it is taken where it is named."""


@dataclass(frozen=True)
class Provider:
    """A provider: its name in ONNX Runtime, the extra that brings it, what it is told, and what it needs to start.

    ``on_cpu``: it computes on the CPU's cores, so that a session for each keeps them busy.
    """

    name: str
    extra: str
    options: Mapping[str, str] = field(default_factory=dict)
    needs: str = "its driver"
    on_cpu: bool = False


PROVIDERS = {
    CPU: Provider("CPUExecutionProvider", "inference", on_cpu=True),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "inference-gpu",
        {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},  # the default search times algorithms at each start
        "an NVIDIA GPU, its driver, and the CUDA and cuDNN that this onnxruntime-gpu was built for",
    ),
    "directml": Provider("DmlExecutionProvider", "inference-directml", needs="a GPU with DirectX 12 and its driver"),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        "inference-openvino",
        {"device_type": "CPU", "precision": "FP32"},
        "a CPU that OpenVINO knows",
        on_cpu=True,
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "inference",
        {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},  # the Neural Engine knows half precision alone
        "macOS 12 or newer",
    ),
}
"""What ``--provider`` takes -> what it is."""

_RUNTIMES = {"onnxruntime", "onnxruntime-directml", "onnxruntime-gpu", "onnxruntime-openvino"}


def installed() -> list[str]:
    """Keys of `PROVIDERS` that this ONNX Runtime was built with; whether they start is another question."""
    built = ort.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider.name in built]


def provider_of(name: str) -> Provider:
    """The provider of that key. Raises InputError where there is none."""
    if name not in PROVIDERS:
        known = (AUTO, *PROVIDERS)
        raise InputError(f"there is no provider '{name}'{did_you_mean(name, known)}: choose {' or '.join(known)}")
    return PROVIDERS[name]


def require_installed(name: str) -> Provider:
    """The provider of that key.

    Raises:
        InputError: there is none, or this ONNX Runtime lacks it; names the extra that brings it.
    """
    provider = provider_of(name)
    if name not in installed():
        raise InputError(
            f"the provider '{name}' is not installed: pip install 'pelagia[{provider.extra}]' in an environment of its "
            "own, or use --provider cpu"
        )
    return provider


def open_session(data: bytes, name: str, threads: int) -> ort.InferenceSession:
    """A session of ONNX Runtime on that provider and on no other, computing in ``threads`` threads.

    Raises:
        InputError: as `require_installed`, or the provider does not start; says what it needs.
        Exception: ONNX Runtime cannot load ``data``; its classes share no base of their own.
    """
    provider = require_installed(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if name == CPU:
        return ort.InferenceSession(data, options, providers=[provider.name])
    given = dict(provider.options)
    if name == "directml":
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    elif name == "openvino":
        given["num_of_threads"] = str(threads)
    elif name == "cuda" and hasattr(ort, "preload_dlls"):
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()  # CUDA and cuDNN that pip installed are on no search path
    ort.set_default_logger_severity(4)  # what fails to start is said in our own words
    try:
        session = ort.InferenceSession(data, options, providers=[(provider.name, given)], enable_fallback=0)
        why = ""
    except Exception as error:
        ort.InferenceSession(data, options, providers=[PROVIDERS[CPU].name])  # raises where the model is at fault
        why = f" ({str(error).splitlines()[0]})"
    finally:
        ort.set_default_logger_severity(2)
    if why or session.get_providers()[0] != provider.name:
        raise InputError(
            f"the provider '{name}' is installed and does not start{why}: it needs {provider.needs}; mend that, or use "
            "--provider cpu"
        )
    return session


def runtimes() -> list[str]:
    """Installed packages that each bring an ONNX Runtime. Two in one environment overwrite each other's files."""
    from importlib.metadata import distributions  # it takes long, and `pelagia doctor` alone asks

    names = {str(one.name).lower().replace("_", "-") for one in distributions()}
    return sorted(names & _RUNTIMES)


def choose_provider(wanted: str, prove: Callable[[str], object], note: Callable[[str], None]) -> str:
    """A key of `PROVIDERS` for what the user asked for.

    Args:
        wanted: such a key, or `AUTO`: the first of `AUTO_ORDER` that is installed and that ``prove`` lets pass, else
            the CPU.
        prove: raises InputError or ModelError where the provider of that key does not start or gives other answers
            than the trainer's.
        note: is told what ``auto`` passed over, and why.

    Raises:
        InputError, ModelError: of ``prove``, where a provider was named.
    """
    if wanted != AUTO:
        require_installed(wanted)
        prove(wanted)
        return wanted
    for name in AUTO_ORDER:
        if name not in installed():
            continue
        try:
            prove(name)
        except PelagiaError as error:
            note(str(error))
        else:
            return name
    prove(CPU)
    return CPU
