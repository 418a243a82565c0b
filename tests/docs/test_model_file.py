"""The page on the model file, followed to the letter: another program gets Pelagia's answers."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pelagia.dataset.schema import Dataset
from pelagia.images.preprocess import PreprocessSpec, load_sized
from pelagia.images.preprocess import load as ours
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.machine.session import Session, stacked

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "model-file.md"
FOREIGN, PYTHON = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def foreign(model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The names that the page's program defines, having passed its own test on the reference images."""
    return names_of(model, tmp_path, monkeypatch)


def names_of(model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    shutil.copy(model.path, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(FOREIGN, str(PAGE), "exec"), names)
    return names


def test_the_program_knows_nothing_of_pelagia() -> None:
    assert "pelagia" not in " ".join(re.findall(r"^(?:import|from) .*$", FOREIGN, re.MULTILINE))


def test_another_program_sees_the_same_pixels_and_gives_the_same_probabilities(
    foreign: dict[str, object], model: ModelFile, dataset: Dataset
) -> None:
    session = Session(model)
    for record in dataset.records[::7]:
        data = dataset.file(record).read_bytes()
        pixels = ours(data, model.metadata.preprocess)
        assert np.array_equal(foreign["load"](data), pixels)  # type: ignore[operator]
        expected = session.probabilities(pixels[None])[0]
        assert np.abs(foreign["probabilities"](data) - expected).max() <= 1e-6  # type: ignore[operator]


def test_another_program_gives_sizes_to_a_model_that_takes_them(
    sized: ModelFile, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign, session = names_of(sized, tmp_path, monkeypatch), Session(sized)
    for record in dataset.records[::7]:
        data = dataset.file(record).read_bytes()
        expected = session.probabilities(*stacked([load_sized(data, sized.metadata.preprocess)], [3.5]))[0]
        assert np.abs(foreign["probabilities"](data, 3.5) - expected).max() <= 1e-6  # type: ignore[operator]


def encoded(form: str, mode: str = "RGB", sides: tuple[int, int] = (40, 30), **options: object) -> bytes:
    """A drawn image: smooth, with a grain."""
    random = np.random.default_rng(sum(sides))
    coarse = cv2.resize(random.integers(0, 200, (6, 8, 3), dtype=np.uint8), sides, interpolation=cv2.INTER_CUBIC)
    buffer = io.BytesIO()
    image = Image.fromarray(coarse + random.integers(0, 40, (*sides[::-1], 1), dtype=np.uint8))
    image.convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize("sides", [(255, 200), (256, 100), (513, 512), (4000, 3000), (1023, 1025), (90, 3000)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_large_jpegs_are_described(foreign: dict[str, object], fit: str, sides: tuple[int, int], mode: str) -> None:
    foreign["spec"]["fit"] = fit  # type: ignore[index]
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded("JPEG", mode, sides, exif=exif)
    pixels = ours(data, PreprocessSpec(size=32, fit=fit))  # type: ignore[arg-type]
    assert np.array_equal(foreign["load"](data), pixels)  # type: ignore[operator]
    found = load_sized(data, PreprocessSpec(size=32, fit=fit))  # type: ignore[arg-type]
    assert foreign["decode"](data)[1] == (found.width, found.height) == sides[::-1]  # type: ignore[operator]


def test_a_model_that_does_not_speak_of_large_jpegs_is_described(foreign: dict[str, object]) -> None:
    del foreign["spec"]["jpeg_scale"]  # type: ignore[attr-defined]
    data = encoded("JPEG", sides=(1200, 900))
    assert np.array_equal(foreign["load"](data), ours(data, PreprocessSpec(size=32, jpeg_scale="full")))  # type: ignore[operator]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_other_formats_are_described(foreign: dict[str, object], form: str) -> None:
    for data in (encoded(form), encoded(form, sides=(600, 400)), encoded(form, "RGBA")):
        assert np.array_equal(foreign["load"](data), ours(data, PreprocessSpec(size=32)))  # type: ignore[operator]


def test_sixteen_bits_are_described(foreign: dict[str, object]) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (50, 60, 3), dtype=np.uint16)
    for suffix in (".png", ".tif"):
        data = cv2.imencode(suffix, deep)[1].tobytes()
        assert np.array_equal(foreign["load"](data), ours(data, PreprocessSpec(size=32)))  # type: ignore[operator]


def test_stretch_is_described_as_well(foreign: dict[str, object], dataset: Dataset) -> None:
    foreign["spec"]["fit"] = "stretch"  # type: ignore[index]
    size = foreign["spec"]["size"]  # type: ignore[index]
    data = dataset.file(dataset.records[0]).read_bytes()
    assert np.array_equal(foreign["load"](data), ours(data, PreprocessSpec(size=size, fit="stretch")))  # type: ignore[operator]


def test_the_programs_for_python_run(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    shutil.copy(model.path, tmp_path / "model.onnx")
    shutil.copytree(survey.root, tmp_path / "survey")
    shutil.copy(sorted(survey.root.rglob("*.jpg"))[0], tmp_path / "image.jpg")
    done = subprocess.run([sys.executable, "-c", PYTHON], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + survey.images + 1
