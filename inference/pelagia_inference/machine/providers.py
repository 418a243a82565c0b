"""What can compute the network: the execution providers of ONNX Runtime that Pelagia knows, and how one is chosen.

Invariant: a provider computes in float32, as in training. Providers that would use less precision (TF32, half
precision) are configured not to. An accelerator is used only if its results on the model's reference images agree with
those in the model, within `pelagia.model.metadata.TOLERANCE`; so the results do not depend on the provider. A survey
stores which provider computed it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import onnxruntime as ort

from pelagia.errors import InputError, PelagiaError, did_you_mean, first_line
from pelagia.shell import package_with

CPU = "cpu"
AUTO = "auto"
AUTO_ORDER = ("cuda", "directml", "openvino")
"""What ``auto`` tries before the CPU: a user installs each of these on purpose. CoreML is in every Mac's ONNX Runtime,
whether or not it is faster for a model, so it is used only if the user names it."""


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Attributes:
        name: the name of the provider in ONNX Runtime.
        extra: the extra of Pelagia that installs it.
        options: the options of ONNX Runtime for the provider.
        needs: what it needs to start, for a message.
        on_cpu: whether it computes on the CPU's cores, so one session for each core keeps them busy.
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
        "a CPU that OpenVINO supports",
        on_cpu=True,
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "inference",
        {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},  # the Neural Engine has only half precision
        "macOS 12 or newer",
    ),
}
"""Name in ``--provider`` -> provider."""

_RUNTIMES = {"onnxruntime", "onnxruntime-directml", "onnxruntime-gpu", "onnxruntime-openvino"}


def installed() -> list[str]:
    """Keys of `PROVIDERS` that this ONNX Runtime was built with. They may still fail to start."""
    built = ort.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider.name in built]


def provider_of(name: str) -> Provider:
    """The provider with this key of `PROVIDERS`. Raises InputError if there is none."""
    if name not in PROVIDERS:
        known = (AUTO, *PROVIDERS)
        raise InputError(f"there is no provider '{name}'{did_you_mean(name, known)}: choose {' or '.join(known)}")
    return PROVIDERS[name]


def require_installed(name: str) -> Provider:
    """The provider with this key of `PROVIDERS`.

    Raises:
        InputError: there is no such provider, or this ONNX Runtime lacks it; the message names the extra for it.
    """
    provider = provider_of(name)
    if name not in installed():
        raise InputError(
            f"the provider '{name}' is not installed: run pip install {package_with(provider.extra)} in a new "
            "environment, or use --provider cpu"
        )
    return provider


def open_session(data: bytes, name: str, threads: int) -> ort.InferenceSession:
    """A session of ONNX Runtime on one provider and no other.

    Args:
        data: the bytes of an ONNX file.
        name: a key of `PROVIDERS`.
        threads: the number of threads that the session computes in.

    Raises:
        InputError: as `require_installed`, or the provider does not start; the message says what it needs.
        Exception: ONNX Runtime cannot load ``data``; its exceptions have no common base class.
    """
    provider = require_installed(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if name == CPU:
        return ort.InferenceSession(data, options, providers=[provider.name])
    return _open_accelerator(data, name, provider, options)


def _open_accelerator(data: bytes, name: str, provider: Provider, options: ort.SessionOptions) -> ort.InferenceSession:
    provider_options = _prepare(name, provider, options)
    ort.set_default_logger_severity(4)  # the error below says why a provider does not start
    try:
        session = ort.InferenceSession(data, options, providers=[(provider.name, provider_options)], enable_fallback=0)
        cause = ""
    except Exception as error:
        ort.InferenceSession(data, options, providers=[PROVIDERS[CPU].name])  # raises if the model is at fault
        cause = f" ({first_line(error)})"
    finally:
        ort.set_default_logger_severity(2)
    if cause or session.get_providers()[0] != provider.name:
        raise InputError(
            f"the provider '{name}' is installed but does not start{cause}: it needs {provider.needs}; install that, "
            "or use --provider cpu"
        )
    return session


def _prepare(name: str, provider: Provider, options: ort.SessionOptions) -> dict[str, str]:
    """Sets the session's options that a provider needs. Returns the options of the provider."""
    provider_options = dict(provider.options)
    if name == "directml":
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    elif name == "openvino":
        provider_options["num_of_threads"] = str(options.intra_op_num_threads)
    elif name == "cuda" and hasattr(ort, "preload_dlls"):
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()  # pip installs CUDA and cuDNN in folders where the system does not look
    return provider_options


def runtimes() -> list[str]:
    """Installed packages that each contain an ONNX Runtime. Two in one environment overwrite each other's files."""
    from importlib.metadata import distributions  # slow to import, and only `pelagia doctor` needs it

    names = {str(package.name).lower().replace("_", "-") for package in distributions()}
    return sorted(names & _RUNTIMES)


def choose_provider(wanted: str, check: Callable[[str], object], note: Callable[[str], None]) -> str:
    """Turns what the user asked for into a key of `PROVIDERS`.

    Args:
        wanted: a key of `PROVIDERS`, or `AUTO`: the first of `AUTO_ORDER` that is installed and passes ``check``, or
            the CPU if there is none.
        check: called with a key; raises InputError if that provider does not start, and ModelError if its results
            differ from those in the model.
        note: called with the reason for each provider that ``auto`` could not use.

    Raises:
        InputError, ModelError: from ``check``, if the user named the provider.
    """
    if wanted != AUTO:
        require_installed(wanted)
        check(wanted)
        return wanted
    for name in AUTO_ORDER:
        if name not in installed():
            continue
        try:
            check(name)
        except PelagiaError as error:
            note(str(error))
        else:
            return name
    check(CPU)
    return CPU
