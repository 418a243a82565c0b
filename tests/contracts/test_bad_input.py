"""Mistakes of users: each gives one line that names the remedy, an exit code, and never a traceback."""

import shutil
import sys
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey

TINY_CONFIG = "configs/training/tiny_cpu.yaml"


def refused(result: object, code: int, *said: str) -> str:
    """The error line of a refused command."""
    stderr = result.stderr  # type: ignore[attr-defined]
    assert "Traceback" not in stderr + result.stdout  # type: ignore[attr-defined]
    [line] = [line for line in stderr.splitlines() if line.startswith("error: ")]
    for text in said:
        assert text in line
    assert result.returncode == code, stderr  # type: ignore[attr-defined]
    return line


def test_a_missing_folder(pelagia: Pelagia, model: ModelFile, tmp_path: Path) -> None:
    refused(
        pelagia("classify", model.path, tmp_path / "no", "--out", tmp_path / "out"), 2, "there is no file or folder at"
    )
    refused(
        pelagia("dataset", "import", tmp_path / "no", "--out", tmp_path / "out"), 2, "does not exist: name the folder"
    )
    refused(pelagia("dataset", "show", tmp_path / "no"), 3, "make one with `pelagia dataset import SRC --out")
    refused(pelagia("evaluate", model.path, tmp_path / "no"), 3, "there is no dataset at")


def test_an_empty_folder(pelagia: Pelagia, model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(pelagia("classify", model.path, tmp_path / "empty", "--out", tmp_path / "out"), 2, "there is no image in")
    refused(pelagia("dataset", "import", tmp_path / "empty", "--out", tmp_path / "out"), 2, "there is no image in")
    assert not (tmp_path / "out").exists()


def test_bad_files_beside_a_good_one_are_listed_and_counted(
    pelagia: Pelagia, dataset: Dataset, model: ModelFile, tmp_path: Path
) -> None:
    folder = tmp_path / "source" / "copepod"
    folder.mkdir(parents=True)
    whole = dataset.file(dataset.records[0]).read_bytes()
    (folder / f"whole{Path(dataset.records[0].path).suffix}").write_bytes(whole)
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("these are words")
    (folder / "empty.png").touch()
    imported = pelagia("dataset", "import", tmp_path / "source", "--out", tmp_path / "dataset")
    assert imported.returncode == 0, imported.stderr
    assert "left out: 1 files without bytes" in imported.stdout
    assert "left out: 2 images that cannot be decoded" in imported.stdout
    dropped = (tmp_path / "dataset" / "dropped.csv").read_text()
    assert all(name in dropped for name in ("truncated.jpg", "text.png", "empty.png"))
    classified = pelagia("classify", model.path, tmp_path / "source", "--out", tmp_path / "survey")
    assert classified.returncode == 0, classified.stderr
    assert "failed, undecodable: 2" in classified.stdout
    assert "Traceback" not in classified.stderr


def test_only_bad_files(pelagia: Pelagia, tmp_path: Path) -> None:
    (tmp_path / "source" / "copepod").mkdir(parents=True)
    (tmp_path / "source" / "copepod" / "empty.png").touch()
    refused(
        pelagia("dataset", "import", tmp_path / "source", "--out", tmp_path / "out"),
        3,
        "none of the 1 images can be used: 1 empty",
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.epohcs=3", "unknown key 'train.epohcs' (did you mean 'epochs'?)"),
        ("train.epochs=soon", "train.epochs: input should be a valid integer"),
        ("train.epochs", "is not of the form key=value"),
        ("model.backbone=resnet10tt", "did you mean 'resnet10t'?"),
        ("model.weights=nowhere.pth", "there is no weights file at nowhere.pth"),
        ("data.exclude=[kraken]", "'kraken' is not a class of"),
    ],
)
def test_a_wrong_config(pelagia: Pelagia, dataset: Dataset, tmp_path: Path, setting: str, said: str) -> None:
    result = pelagia(
        "train", TINY_CONFIG, "--set", f"dataset={dataset.root}", "--set", setting, "--out", tmp_path / "run"
    )
    refused(result, 2, said)
    assert not (tmp_path / "run").exists()


def test_a_config_that_is_not_there(pelagia: Pelagia, tmp_path: Path) -> None:
    refused(pelagia("train", tmp_path / "no.yaml", "--out", tmp_path / "run"), 2, "there is no config file at")


def test_a_taxonomy_with_a_cycle(pelagia: Pelagia, survey: SimulatedSurvey, tmp_path: Path) -> None:
    taxonomy = tmp_path / "ring.yaml"
    taxonomy.write_text(
        "name: ring\n"
        "taxa:\n"
        "  - {name: A, rank: genus, parent: B}\n"
        "  - {name: B, rank: genus, parent: A}\n"
        "classes:\n"
        "  - {name: a, taxon: A}\n"
    )
    result = pelagia(
        "dataset", "import", survey.root, "--manifest", survey.truth, "--taxonomy", taxonomy, "--out", tmp_path / "out"
    )
    refused(result, 2, "the taxa A -> B -> A are parents of each other")


def test_a_class_with_one_image(pelagia: Pelagia, dataset: Dataset, tmp_path: Path) -> None:
    for name, wanted in (("copepod", 9), ("medusa", 9), ("detritus", 1)):
        (tmp_path / "source" / name).mkdir(parents=True)
        for record in [one for one in dataset.records if one.class_name == name][:wanted]:
            shutil.copy(dataset.file(record), tmp_path / "source" / name)
    imported = pelagia("dataset", "import", tmp_path / "source", "--out", tmp_path / "dataset")
    assert imported.returncode == 0
    assert "warning: class 'detritus' has 1 group: it has no image in val and test" in imported.stderr
    result = pelagia("train", TINY_CONFIG, "--set", f"dataset={tmp_path / 'dataset'}", "--out", tmp_path / "run")
    refused(result, 3, "fewer than 2 training images of 'detritus' (1)", "--set 'data.exclude=[detritus]'")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x08\x07\x12\x00", b"\xff" * 1000], ids=["empty", "text", "bare", "noise"]
)
@pytest.mark.parametrize("command", [("model", "show"), ("model", "verify"), ("classify",)], ids="-".join)
def test_a_model_that_is_not_ours(
    pelagia: Pelagia, survey: SimulatedSurvey, tmp_path: Path, command: tuple[str, ...], content: bytes
) -> None:
    (tmp_path / "theirs.onnx").write_bytes(content)
    more = (survey.root, "--out", tmp_path / "out") if command == ("classify",) else ()
    refused(pelagia(*command, tmp_path / "theirs.onnx", *more), 4, "theirs.onnx")
    assert not (tmp_path / "out").exists()


def test_a_damaged_model(pelagia: Pelagia, model: ModelFile, tmp_path: Path) -> None:
    """One bit of a weight: the network would still run, and be wrong."""
    data = bytearray(model.data)
    data[len(data) // 3] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(bytes(data))
    for command in (("model", "show"), ("model", "verify")):
        refused(pelagia(*command, tmp_path / "damaged.onnx"), 4, "damaged")


def test_a_disk_that_cannot_be_written(
    pelagia: Pelagia, survey: SimulatedSurvey, dataset: Dataset, model: ModelFile
) -> None:
    """/proc takes no folder, not even root's."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc, a file system that nobody can write to")
    for command in (
        ("sample", "/proc/out"),
        ("dataset", "import", survey.root, "--manifest", survey.truth, "--out", "/proc/out"),
        ("train", TINY_CONFIG, "--out", "/proc/out", "--set", f"dataset={dataset.root}"),
        ("classify", model.path, survey.root, "--out", "/proc/out"),
    ):
        result = pelagia(*command)
        assert "Traceback" not in result.stderr
        [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert result.returncode in (1, 3, 5), line


@pytest.mark.parametrize(
    "command",
    [("sample",), ("dataset", "import"), ("train", TINY_CONFIG), ("export",)],
    ids=lambda words: "-".join(words[:2]),
)
def test_nothing_is_overwritten(
    pelagia: Pelagia, survey: SimulatedSurvey, dataset: Dataset, run: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    arguments: list[object] = [*command]
    arguments += {
        "sample": [kept],
        "dataset": [survey.root / "images", "--out", kept],
        "export": [run, "--out", kept],
    }.get(command[0], ["--out", kept])
    if command[0] == "train":
        arguments += ["--set", f"dataset={dataset.root}"]
    refused(pelagia(*arguments), 2, str(kept))
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]


def test_no_server(pelagia: Pelagia, survey: SimulatedSurvey, tmp_path: Path) -> None:
    nowhere = {
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "x" * 40,
        "PELAGIA_STUDIO_HOME": str(tmp_path),
    }
    push = pelagia("label", "push", survey.root, "--project", "p", "--taxonomy", survey.taxonomy, env=nowhere)
    refused(push, 6, "http://127.0.0.1:9")
    refused(pelagia("label", "pull", "--project", "p", "--out", tmp_path / "out", env=nowhere), 6, "http://127.0.0.1:9")
