"""Compares Pelagia with three other programs that classify images: same network, same images, start included.

    .venv/bin/python -m benchmarks.runner.peers [--only ultralytics ifcb-infer timm] [--rounds 3] [--images 5241]
        [--ifcb-infer PROGRAM] [--timm-inference FILE] [--cache ~/.cache/pelagia-bench]

    ultralytics   `yolo classify predict` with YOLO11n-cls at 224 px, exported by its own exporter, over FlowCam crops
    ifcb-infer    WHOI's program for IFCB bins, with MobileNetV3-small at 224 px, over one bin of the crops turned grey
    timm          timm's own inference.py with the same MobileNetV3-small, over FlowCam crops

No peer is a dependency, and this project contains nothing of them; each runs as a separate program. Those on PyPI are
installed into separate environments in the cache, with the versions of constraints.txt for packages that both use. Two
are not on PyPI: install WHOIGit/ifcb-inference as its README says, with the extras cpu and torch, and name its program
with --ifcb-infer; name the inference.py of a checkout of huggingface/pytorch-image-models with --timm-inference. A peer
that is not named is skipped.

No weights are downloaded: the networks have random weights, which take the same time. Each peer first runs once in each
of several settings. Its fastest setting then alternates with Pelagia, which runs without options. A rate is images
divided by the seconds from the start of the process to its end. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from benchmarks.harness import REPOSITORY, Finished, classify_command, flowcam, run
from benchmarks.kinds import write_bin
from benchmarks.untrained import write_untrained
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.graph import INPUT_NAME, OUTPUT_NAME
from pelagia.system.cores import usable_cores
from pelagia_training.network.backbone import Deployed, Normalized, build_network, normalization
from pelagia_training.network.onnx_graph import to_onnx

SIZE = 224
CLASSES = 15
BACKBONE = "mobilenetv3_small_100"
BIN = "D20220519T124533_IFCB134"


@dataclass(frozen=True)
class Peer:
    """A program to compare with.

    Attributes:
        target: how many times the peer's rate Pelagia should reach.
        settings: its command for each setting to try, by a description; ``OUT`` is replaced by a new folder.
        count: returns the number of images with a result, from the files in that folder.
        model: a Pelagia model file with the same network.
        images: the input of both.
        variables: environment variables of its commands.
    """

    name: str
    version: str
    target: float
    settings: Mapping[str, Sequence[str]]
    count: Callable[[Path], int]
    model: Path
    images: Path
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """What the peers are set up from."""

    cache: Path
    crops: Sequence[Path]
    ifcb_infer: Path | None
    timm_inference: Path | None


# The peers


def ultralytics(sources: Sources) -> Peer:
    """Both use its ONNX file; Pelagia's model also has the cast, the scale and the change of layout before it."""
    home = install(sources.cache, "ultralytics", "ultralytics", "onnx", "onnxruntime", "onnxslim", "openvino")
    work = fresh(sources.cache / "ultralytics-work")
    variables = {"YOLO_CONFIG_DIR": str(work), "YOLO_OFFLINE": "true"}
    yolo = str(home / "bin" / "yolo")
    [plan] = home.glob("lib/*/site-packages/ultralytics/cfg/models/11/yolo11-cls.yaml")
    text = plan.read_text(encoding="utf-8")
    (work / "yolo11n-cls.yaml").write_text(text.replace("nc: 1000", f"nc: {CLASSES}"), encoding="utf-8")
    for form in ("onnx", "openvino"):
        export = [yolo, "export", "model=yolo11n-cls.yaml", f"format={form}", f"imgsz={SIZE}", "dynamic=True"]
        run([*export, "device=cpu"], variables, work)
    images = flat_folder(sources)
    output_options = ["device=cpu", "save=False", "save_txt=True", "verbose=False", "project=OUT", "name=run"]

    def command(model: str, batch: int) -> list[str]:
        input_options = [f"model={work / model}", f"source={images}", f"imgsz={SIZE}", f"batch={batch}"]
        return [yolo, "classify", "predict", *input_options, *output_options]

    settings = {
        "PyTorch, batch 16": command("yolo11n-cls.yaml", 16),
        "ONNX Runtime, batch 1": command("yolo11n-cls.onnx", 1),
        "ONNX Runtime, batch 16": command("yolo11n-cls.onnx", 16),
        "ONNX Runtime, batch 64": command("yolo11n-cls.onnx", 64),
        "OpenVINO, batch 16": command("yolo11n-cls_openvino_model", 16),
    }
    model = write_untrained(work / "pelagia.onnx", with_pelagia_input(work / "yolo11n-cls.onnx"), CLASSES, spec())
    return Peer(
        "ultralytics",
        versions(home, "ultralytics", "torch", "onnxruntime", "openvino"),
        1.7,
        settings,
        lambda out: sum(1 for _ in out.rglob("*.txt")),
        model,
        images,
        variables,
    )


def ifcb_infer(sources: Sources) -> Peer | str:
    """Both stretch an image to a square, so their pixels differ only by the filter of the resize."""
    if sources.ifcb_infer is None:
        return "install WHOIGit/ifcb-inference as its README says, and name its program with --ifcb-infer"
    work = fresh(sources.cache / "ifcb-infer-work")
    (work / "bins").mkdir()
    write_bin(work / "bins" / BIN, sources.crops)
    (work / "classes.txt").write_text("".join(f"class{number:03}\n" for number in range(CLASSES)))
    network = random_network()
    write_for_unit_planes(network, work / "peer.onnx")
    base = [str(sources.ifcb_infer), "--cpuonly", "--classes", str(work / "classes.txt"), "--outdir", "OUT"]
    tail = [str(work / "peer.onnx"), str(work / "bins")]
    settings = {f"torch loader, batch {batch}": [*base, "--batch", str(batch), *tail] for batch in (1, 8, 32, 128)}
    settings |= {f"own loader, batch {batch}": [*base, "--notorch", "--batch", str(batch), *tail] for batch in (8, 32)}
    model = write_untrained(work / "pelagia.onnx", to_onnx(deployed(network), SIZE), CLASSES, spec("stretch"))
    home = sources.ifcb_infer.parent.parent
    package_versions = versions(home, "ifcb-infer", "ifcbkit", "onnxruntime", "torch")
    return Peer("ifcb-infer", package_versions, 1.9, settings, rows_of_csv, model, work / "bins")


def timm_inference(sources: Sources) -> Peer | str:
    """timm's own loop over torch, with the weights that Pelagia's model was exported from."""
    if sources.timm_inference is None:
        return "name the inference.py of a checkout of huggingface/pytorch-image-models with --timm-inference"
    home = install(sources.cache, "timm", "timm", "torch", "torchvision", "pandas")
    work = fresh(sources.cache / "timm-work")
    network = random_network()
    save_file(network.state_dict(), work / "network.safetensors")
    images = flat_folder(sources)
    base = [str(home / "bin" / "python"), str(sources.timm_inference), "--data-dir", str(images), "--model", BACKBONE]
    base += ["--checkpoint", str(work / "network.safetensors"), "--num-classes", str(CLASSES), "--device", "cpu"]
    base += ["--img-size", str(SIZE), "--label-type", "none", "--include-index", "--no-console-results"]
    base += ["--results-dir", "OUT", "--results-file", "results"]
    workers = str(usable_cores())
    settings = {
        "defaults (2 workers, batch 256)": base,
        f"{workers} workers, batch 64": [*base, "-j", workers, "-b", "64"],
        "1 worker, batch 64": [*base, "-j", "1", "-b", "64"],
        f"{workers} workers, batch 64, channels last": [*base, "-j", workers, "-b", "64", "--channels-last"],
        f"{workers} workers, batch 64, TorchScript": [*base, "-j", workers, "-b", "64", "--torchscript"],
        f"{workers} workers, batch 64, torch.compile": [*base, "-j", workers, "-b", "64", "--torchcompile"],
    }
    model = write_untrained(work / "pelagia.onnx", to_onnx(deployed(network), SIZE), CLASSES, spec())
    package_versions = versions(home, "timm", "torch", "torchvision")
    return Peer("timm", package_versions, 6.0, settings, rows_of_csv, model, images)


PEERS: dict[str, Callable[[Sources], Peer | str]] = {
    "ultralytics": ultralytics,
    "ifcb-infer": ifcb_infer,
    "timm": timm_inference,
}


# How they are set up


def install(cache: Path, name: str, *packages: str) -> Path:
    """Makes an environment with some packages from PyPI, once; with Pelagia's versions of packages that it uses too."""
    home = cache / name
    if (home / ".ready").exists():
        return home
    uv = shutil.which("uv") or str(REPOSITORY / ".tools" / "bin" / "uv")
    print(f"installing {', '.join(packages)} into {home}", flush=True)
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, home], check=True)
    constraints = REPOSITORY / "constraints.txt"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", home, "-c", constraints, *packages], check=True)
    (home / ".ready").touch()
    return home


def versions(home: Path, *packages: str) -> str:
    """Names and versions of packages in an environment."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    shown = subprocess.run([home / "bin" / "python", "-c", code, *packages], capture_output=True, text=True, check=True)
    return ", ".join(map(" ".join, zip(packages, shown.stdout.split(), strict=True)))


def fresh(folder: Path) -> Path:
    """An empty folder. What an earlier run left there is deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def flat_folder(sources: Sources) -> Path:
    """Copies the crops into one folder under different names, which every peer can read."""
    images = fresh(sources.cache / "images")
    for crop in sources.crops:
        shutil.copyfile(crop, images / f"{crop.parent.name}-{crop.name}")
    return images


def spec(fit: Literal["letterbox", "stretch"] = "letterbox") -> PreprocessSpec:
    return PreprocessSpec(size=SIZE, fit=fit)


def random_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(BACKBONE, CLASSES, pretrained=False, drop_rate=0.0, options={}).eval()


def deployed(network: torch.nn.Module) -> torch.nn.Module:
    return Deployed(Normalized(network, *normalization(network, None, None)))


class UnitPlanes(torch.nn.Module):
    """A network with the input of ifcb-infer: float32, N x 3 x H x W, 0..1. It gives probabilities."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = Deployed(Normalized(network, *normalization(network, None, None)))

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return self.classifier((planes * 255).permute(0, 2, 3, 1))


def write_for_unit_planes(network: torch.nn.Module, path: Path) -> None:
    torch.onnx.export(
        UnitPlanes(network).eval(),
        (torch.zeros((2, 3, SIZE, SIZE)),),
        path,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("N", min=1, max=4096)},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def with_pelagia_input(path: Path) -> bytes:
    """Turns a graph with the input float32, N x 3 x H x W, 0..1, into one with the input of Pelagia's models."""
    proto = onnx.load(path)
    graph = proto.graph
    input_name, output_name = graph.input[0].name, graph.output[0].name
    graph.initializer.append(numpy_helper.from_array(torch.tensor(1 / 255).numpy(), "pelagia_scale"))
    front = [
        helper.make_node("Cast", [INPUT_NAME], ["pelagia_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pelagia_float", "pelagia_scale"], ["pelagia_unit"]),
        helper.make_node("Transpose", ["pelagia_unit"], [input_name], perm=[0, 3, 1, 2]),
    ]
    nodes = [*front, *graph.node, helper.make_node("Identity", [output_name], [OUTPUT_NAME])]
    del graph.node[:], graph.input[:], graph.output[:], proto.metadata_props[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", SIZE, SIZE, 3]))
    graph.output.append(helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", CLASSES]))
    data: bytes = proto.SerializeToString()
    return data


def rows_of_csv(out: Path) -> int:
    """The number of rows of the one table below a folder, without its header."""
    [table] = out.rglob("*.csv")
    with table.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


# The comparison


def run_peer(peer: Peer, setting: str, count: int) -> Finished:
    """Runs a peer once. Raises RuntimeError if it fails or leaves out an image."""
    with tempfile.TemporaryDirectory(prefix="peer-") as out:
        command = [word.replace("OUT", out) for word in peer.settings[setting]]
        done = run(command, peer.variables, Path(out))
        found = peer.count(Path(out))
    if found != count:
        raise RuntimeError(f"{peer.name} gave {found} results for {count} images")
    return done


def run_pelagia(peer: Peer, count: int) -> Finished:
    """Runs Pelagia once on the same images. Raises RuntimeError if it fails, or fails on an image."""
    with tempfile.TemporaryDirectory(prefix="pelagia-") as out:
        done = run(classify_command(peer.model, [peer.images], Path(out, "out"), "--json"))
        found = rows_of_csv(Path(out))
    if found != count or done.lines[-1]["failed"]:
        raise RuntimeError(f"Pelagia gave {found} rows for {count} images, {done.lines[-1]['failed']} of them failed")
    return done


def fastest(peer: Peer, count: int, wanted: str) -> str:
    """The setting in which a peer is fastest over all images. A setting that fails is reported and skipped."""
    rates = {}
    for setting in (name for name in peer.settings if wanted in name):
        try:
            rates[setting] = count / run_peer(peer, setting, count).seconds
        except RuntimeError as error:
            print(f"  {setting}: does not run here: {str(error).strip().splitlines()[-1]}", flush=True)
        else:
            print(f"  {setting}: {rates[setting]:.1f} images/s", flush=True)
    if not rates:
        raise RuntimeError(f"{peer.name} runs in none of the settings")
    return max(rates, key=lambda setting: rates[setting])


def compare(peer: Peer, count: int, rounds: int, wanted: str) -> tuple[str, str]:
    """Alternates both. Returns a line of the table, and a sentence if the target is missed, else an empty text."""
    print(f"\n{peer.name} ({peer.version}), {count} images", flush=True)
    setting = fastest(peer, count, wanted)
    theirs, ours = [], []
    for number in range(rounds):
        theirs.append(run_peer(peer, setting, count))
        ours.append(run_pelagia(peer, count))
        rates = [count / runs[-1].seconds for runs in (theirs, ours)]
        print(f"  round {number + 1}: {rates[0]:.1f} and {rates[1]:.1f} images/s", flush=True)
    ratios = [peer_run.seconds / own_run.seconds for peer_run, own_run in zip(theirs, ours, strict=True)]
    rate, own = (statistics.median(count / done.seconds for done in runs) for runs in (theirs, ours))
    peaks = f"{max(done.peak for done in theirs) / 1e6:.0f} | {max(done.peak for done in ours) / 1e6:.0f}"
    ratio = statistics.median(ratios)
    spread = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"  {shlex.join(peer.settings[setting])}")
    print(f"  {shlex.join(classify_command(peer.model, [peer.images], Path('OUT')))}")
    line = f"| {peer.name}, {setting} | {rate:.1f} | {own:.1f} | {spread} | {peer.target} | {peaks} |"
    return line, "" if ratio >= peer.target else f"{peer.name}: {ratio:.2f} is less than {peer.target}"


def main() -> None:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--setting", default="", help="only settings with this text, such as 'ONNX Runtime'")
    parser.add_argument("--images", type=int, help="number of images; all by default")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pelagia-bench")
    parser.add_argument("--ifcb-infer", type=Path, help="the program of ifcb-inference, in its own environment")
    parser.add_argument("--timm-inference", type=Path, help="the inference.py in a checkout of pytorch-image-models")
    options = parser.parse_args()
    crops = flowcam()[: options.images]
    named = [path and Path(os.path.abspath(path)) for path in (options.ifcb_infer, options.timm_inference)]
    sources = Sources(options.cache.absolute(), crops, *named)
    table, missed = [], []
    for name in options.only:
        peer = PEERS[name](sources)
        if isinstance(peer, str):
            print(f"\n{name} is skipped: {peer}")
            continue
        line, miss = compare(peer, len(crops), options.rounds, options.setting)
        table.append(line)
        missed += [miss] if miss else []
    print(f"\n{usable_cores()} cores; medians of {options.rounds} rounds; peak memory of all processes in MB")
    print("| peer | images/s | Pelagia, images/s | ratio | target | peak | Pelagia's peak |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(table))
    print("; ".join(missed) or ("every target is met" if table else "nothing was compared"))
    sys.exit(bool(missed) or not table)


if __name__ == "__main__":
    main()
