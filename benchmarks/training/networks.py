"""Takes networks of timm, from random weights, through train, export, parity, verify, classify and quantize.

.venv/bin/python -m benchmarks.training.networks --out FOLDER                      all networks of `NETWORKS`, at 64 px
.venv/bin/python -m benchmarks.training.networks --out FOLDER vit_tiny_patch16_224 only these networks
.venv/bin/python -m benchmarks.training.networks --out FOLDER --table docs/reference/networks.md     rewrite the table

Each network is a row of FOLDER/networks.jsonl. An interrupted benchmark resumes; `--again NAME` repeats a network. A
network that does not take the size is tried once more at the nearest size that it takes.

Speeds are measured in one thread, in turns with `REFERENCE` at the same size, and are given as a ratio to it, so that
other work on the machine changes them little. The images are simulated and the training is short, so the networks are
hardly trained: the table shows what works and how fast it is, not how good it is. The agreement of int8 is lower than
after a full training.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import REPOSITORY, pelagia

REFERENCE = "resnet18"
NETWORKS = tuple(
    """
    resnet18 mobileone_s0 repvgg_a0 hiera_tiny_224 beit_base_patch16_224 maxvit_pico_rw_256 maxvit_tiny_tf_224
    coat_lite_tiny crossvit_9_240 efficientformerv2_s0 tiny_vit_5m_224 levit_128s gcvit_xxtiny
    swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 eva02_tiny_patch14_224 vit_small_patch14_dinov2
    cait_xxs24_224 pit_ti_224 volo_d1_224 mixer_s32_224 visformer_tiny vit_tiny_patch16_224 deit_tiny_patch16_224
    resnet10t resnet50 convnext_atto convnextv2_atto efficientnet_b0 efficientnet_lite0 tf_efficientnetv2_b0
    mobilenetv2_100 mobilenetv3_small_100 mobilenetv3_large_100 mobilenetv4_conv_small regnety_002 regnetx_002
    densenet121 edgenext_xx_small mobilevit_xxs fastvit_t8 repvit_m0_9 ghostnet_100 efficientvit_b0 lcnet_050
    tinynet_e rexnet_100 mixnet_s resnet26d resnetv2_50x1_bit seresnext26t_32x4d ecaresnet26t res2net50_14w_8s
    skresnet18 wide_resnet50_2 resnext26ts vgg11_bn inception_v3 xception41 dla34 dpn48b hrnet_w18_small cspresnet50
    vovnet39a ese_vovnet19b_dw selecsls42b gernet_s nfnet_l0 mnasnet_small fbnetc_100 hardcorenas_a spnasnet_100
    mobilenetv4_hybrid_medium ghostnetv2_100 repghostnet_050 hgnetv2_b0 fasternet_t0 shvit_s1 starnet_s1
    inception_next_atto convmixer_768_32 focalnet_tiny_srf rdnet_tiny mambaout_femto deit3_small_patch16_224
    flexivit_small vit_relpos_small_patch16_224 convit_tiny xcit_nano_12_p16_224 tnt_s_patch16_224
    swinv2_cr_tiny_ns_224 nest_tiny twins_svt_small twins_pcpvt_small pvt_v2_b0 davit_tiny mvitv2_tiny
    coatnet_pico_rw_224 efficientformer_l1 efficientvit_m0 mobilevitv2_050 swiftformer_xs poolformer_s12
    caformer_s18 resmlp_12_224 gmlp_ti16_224 sequencer2d_s halonet26t botnet26t_256 lambda_resnet26t bat_resnext26ts
    """.split()  # noqa: SIM905 - one line each would fill two screens
)
_MARKS = "<!-- the table begins -->", "<!-- the table ends -->"
_ROUNDS = 5
_SECONDS = 0.15
_BATCH = 8


def main() -> None:
    """Runs the benchmark, or rewrites the table of a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="names of timm; by default all of NETWORKS")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows and for the dataset")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--images", type=int, default=320, help="number of simulated images")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--again", action="append", default=[], metavar="NAME", help="repeat a network")
    parser.add_argument("--table", type=Path, metavar="PAGE.md", help="only rewrite the table in this page")
    options = parser.parse_args()
    rows = options.out / "networks.jsonl"
    if options.table:
        write_table(options.table, read_rows(rows))
        return
    dataset = _dataset(options.out, options.images)
    done = {name for name in read_rows(rows) if name not in options.again}
    for name in [*options.again, *options.networks]:
        if name in done:
            continue
        done.add(name)
        _write(rows, {"network": name, "outcome": "the process was killed"})  # replaced, unless that happens
        row = go_through(name, dataset, options.out / "work", options.size, options.epochs)
        _write(rows, row)
        print(f"{name:32} {row['outcome']}  {row['seconds']:.0f} s", flush=True)


# ---- one network


def go_through(name: str, dataset: Path, work: Path, size: int, epochs: int) -> dict[str, Any]:
    """Takes one network through everything. Returns its row of the table."""
    row: dict[str, Any] = {"network": name, "size": size, "outcome": "", "seconds": 0.0}
    began = time.monotonic()
    for side in (size, None):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        side = _nearest(name, size) if side is None else side
        if side is None:
            break
        with _outcome(row):
            _steps(name, dataset, work, side, epochs, row)
        if not row["outcome"].startswith("refused before training: preprocess.size"):
            break
        row |= {"refused_size": row["outcome"], "asked": size}
    row["seconds"] = round(time.monotonic() - began, 1)
    shutil.rmtree(work, ignore_errors=True)
    return row


def _steps(name: str, dataset: Path, work: Path, size: int, epochs: int, row: dict[str, Any]) -> None:
    """Train, export, verify, classify, quantize. Fills ``row`` with what it finds."""
    from pelagia.config import load_config
    from pelagia.dataset.schema import Dataset
    from pelagia_inference.machine.verify import verify
    from pelagia_training.config import TrainConfig
    from pelagia_training.export.export import export
    from pelagia_training.train import train

    changes = [f"dataset={dataset}", f"preprocess.size={size}", f"train.epochs={epochs}", "train.warmup_epochs=0"]
    changes += [f"model={{backbone: {name}}}", "train.batch_size=16", "train.lr=5e-4", "train.ema_decay=0"]
    changes += ["loggers=[]", f"data.cache={work / 'cache'}"]
    row |= {"step": "train", "size": size, "parameters": _parameters(name)}
    train(
        load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, changes), work / "run", dry_export=True
    )
    row["step"] = "export"
    model = export(work / "run", work / "model.onnx", report=lambda text: _note(row, text))
    parity = model.metadata.parity
    row |= {"parity": parity.max_probability_difference, "score": model.metadata.unknown is not None}
    row["step"] = "verify"
    verify(model)
    row["step"] = "classify"
    pelagia("classify", model.path, dataset / "images", "--out", work / "survey", "--workers", 1)
    row["step"] = "quantize"
    _speeds(model, Dataset.read(dataset), work, row)
    row |= {"step": "", "outcome": "works"}


def _speeds(model: Any, dataset: Any, work: Path, row: dict[str, Any]) -> None:
    """The images/s of the model and of its int8 model, as ratios to the reference."""
    from pelagia.errors import PelagiaError
    from pelagia_inference.machine.session import Session
    from pelagia_training.export.quantize import quantize

    sessions = {"reference": _reference(row["size"], len(model.metadata.classes)), "float": Session(model)}
    try:
        small = quantize(model, dataset, work / "int8.onnx")
    except PelagiaError as error:
        row["int8"] = str(error)
    else:
        measured = small.metadata.quantisation
        assert measured is not None
        row["int8_agreement"] = measured.top1_agreement
        sessions["int8"] = Session(small)
    rates = _rates(sessions, row["size"])
    row["reference_rate"] = max(rates["reference"])
    row["speed"] = median(one / other for one, other in zip(rates["float"], rates["reference"], strict=True))
    if "int8" in rates:
        row["int8_speed"] = median(one / other for one, other in zip(rates["int8"], rates["float"], strict=True))


def _rates(sessions: dict[str, Any], size: int) -> dict[str, list[float]]:
    """Images/s of each session in each round; in a round, the sessions take turns."""
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, size, size, 3), np.uint8)
    sizes = np.full((_BATCH, 3), float(size), np.float32)
    rates: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(_ROUNDS + 1):
        for name, session in sessions.items():
            images, began = 0, time.perf_counter()
            while (seconds := time.perf_counter() - began) < _SECONDS or not images:
                session.answers(pixels, sizes)
                images += _BATCH
            if number:  # the first round warms up
                rates[name].append(images / seconds)
    return rates


def _reference(size: int, classes: int) -> Any:
    """A session of the reference network, untrained."""
    from pelagia.images.preprocess import PreprocessSpec
    from pelagia.model.graph import Graph
    from pelagia_inference.machine.session import Session
    from pelagia_training.network.backbone import Deployed, Normalized, build_network
    from pelagia_training.network.onnx_graph import to_onnx

    key = (size, classes)
    if key not in _REFERENCES:
        network = build_network(REFERENCE, classes, pretrained=False, drop_rate=0.0, options={}, size=size)
        graph = to_onnx(Deployed(Normalized(network, (0.5,) * 3, (0.5,) * 3)), size)
        names = tuple(map(str, range(classes)))
        _REFERENCES[key] = Session(Graph(Path(REFERENCE), graph, PreprocessSpec(size=size), names))
    return _REFERENCES[key]


_REFERENCES: dict[tuple[int, int], Any] = {}


@contextmanager
def _outcome(row: dict[str, Any]) -> Iterator[None]:
    """Writes what stopped a network into its row: a refusal of one line, or a fault of Pelagia."""
    from pelagia.errors import PelagiaError

    try:
        yield
    except PelagiaError as error:
        when = "refused before training" if row["step"] == "train" else f"refused at {row['step']}"
        row["outcome"] = f"{when}: {error}"
    except Exception as error:  # a traceback that a user would see
        row["outcome"] = f"FAULT at {row['step']}: {type(error).__name__}: {str(error)[:300]}"
        row["traceback"] = traceback.format_exc()[-3000:]


def _note(row: dict[str, Any], text: str) -> None:
    if text.startswith("warning: the model has no"):
        row["note"] = text


def _parameters(name: str) -> float:
    import timm
    import torch

    with torch.device("meta"):
        return sum(value.numel() for value in timm.create_model(name).parameters()) / 1e6


def _nearest(name: str, size: int) -> int | None:
    """The size nearest to ``size`` that the network takes, as the message of `pelagia train` names it."""
    from pelagia_training.network.sizes import sizes_that_fit

    return min(sizes_that_fit(name, {}, size), key=lambda side: abs(side - size), default=None)


# ---- dataset, rows and table


def _dataset(out: Path, images: int) -> Path:
    from pelagia.synthetic.survey import simulate_survey
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.importers.dataset import import_dataset

    folder = out / "dataset"
    if not folder.exists():
        survey = simulate_survey(out / "survey", images=images, seed=1)
        taxonomy = load_taxonomy(survey.taxonomy)
        import_dataset(survey.root, folder, manifest=survey.truth, group_column="station", taxonomy=taxonomy)
    return folder.absolute()


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The last row of each network, by its name."""
    if not path.exists():
        return {}
    return {row["network"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def _write(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def write_table(page: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Replaces the table between the two marks of ``page``."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_MARKS[0])
    _, _, after = rest.partition(_MARKS[1])
    rates: dict[int, float] = {}
    for row in rows.values():
        rates[row.get("size", 0)] = max(rates.get(row.get("size", 0), 0.0), row.get("reference_rate", 0.0))
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "network": lambda row: f"`{row['network']}`",
        "million weights": lambda row: f"{row['parameters']:.1f}" if "parameters" in row else "",
        "size, px": lambda row: str(row.get("size", "")),
        f"speed ({REFERENCE} = 1)": lambda row: f"{row['speed']:.2f}" if "speed" in row else "",
        "images/s": lambda row: f"{row['speed'] * rates[row['size']]:.0f}" if "speed" in row else "",
        "int8: times as fast": lambda row: f"{row['int8_speed']:.2f}" if "int8_speed" in row else "",
        "int8: same top-1": lambda row: f"{row['int8_agreement']:.0%}" if "int8_agreement" in row else "",
        "result": _result,
    }
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row) for cell in columns.values()) + " |" for _, row in sorted(rows.items())]
    page.write_text(f"{before}{_MARKS[0]}\n\n" + "\n".join(lines) + f"\n\n{_MARKS[1]}{after}", encoding="utf-8")


def _result(row: dict[str, Any]) -> str:
    words = [row["outcome"]]
    if "refused_size" in row:
        words.append(f"does not take {row['asked']} px")
    if "note" in row:
        words.append("no out-of-distribution score")
    if "int8" in row:
        words.append("no int8: " + row["int8"].partition(":")[0])
    return "; ".join(words)


if __name__ == "__main__":
    main()
