"""The cache of decoded images: made once, shared, made again where it is damaged, and never in the way."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError
from pelagia.images.preprocess import PreprocessSpec, load
from pelagia_training.data import crop_cache
from pelagia_training.data.crops import default_folder, open_crops

SPEC = PreprocessSpec(size=32)


def opened(dataset: Dataset, folder: Path, said: list[str] | None = None, stream: bool = False) -> list[np.ndarray]:
    parts = (dataset.split("train"), dataset.split("val"))
    report = (said if said is not None else []).append
    found = open_crops(dataset, parts, SPEC, folder=folder, stream=stream, report=report)
    return [np.stack(list(crops)) for crops in found]


def expected(dataset: Dataset) -> list[np.ndarray]:
    return [
        np.stack([load(dataset.file(record).read_bytes(), SPEC) for record in dataset.split(name)])
        for name in ("train", "val")
    ]


def copy(dataset: Dataset, to: Path) -> Dataset:
    return Dataset.read(shutil.copytree(dataset.root, to))


def test_cached_and_streamed_images_are_those_that_the_field_sees(dataset: Dataset, tmp_path: Path) -> None:
    for stream in (False, True):
        for found, wanted in zip(opened(dataset, tmp_path, stream=stream), expected(dataset), strict=True):
            assert np.array_equal(found, wanted)


def test_the_second_run_decodes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    moved = copy(dataset, tmp_path / "moved")
    opened(dataset, tmp_path / "cache", said)
    opened(moved, tmp_path / "cache", said)
    assert said[0].startswith("decoding ")
    assert " decoded images in " in said[1]
    assert len(list((tmp_path / "cache").glob("*.crops"))) == 1


def test_another_size_has_a_cache_of_its_own(dataset: Dataset, tmp_path: Path) -> None:
    opened(dataset, tmp_path)
    [crops] = open_crops(dataset, [dataset.split("val")], PreprocessSpec(size=48), folder=tmp_path)
    assert crops[0].shape == (48, 48, 3)
    assert len(list(tmp_path.glob("*.crops"))) == 2


def test_another_decoder_has_a_cache_of_its_own(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(dataset, tmp_path)
    monkeypatch.setattr(crop_cache, "DECODER_VERSION", crop_cache.DECODER_VERSION + 1)
    opened(dataset, tmp_path)
    assert len(list(tmp_path.glob("*.crops"))) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer"])
def test_a_damaged_cache_is_made_again(dataset: Dataset, tmp_path: Path, damage: str) -> None:
    opened(dataset, tmp_path)
    [file] = tmp_path.glob("*.crops")
    data = bytearray(file.read_bytes())
    data[12345] ^= damage == "flipped"
    file.write_bytes(data[:-7] if damage == "cut" else data + b"x" * (damage == "longer"))
    said: list[str] = []
    found = opened(dataset, tmp_path, said)
    assert said[0].startswith("decoding ")
    assert np.array_equal(found[0], expected(dataset)[0])


def test_two_runs_at_once_share_one_cache(dataset: Dataset, tmp_path: Path) -> None:
    results: list[list[np.ndarray]] = []
    said: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(opened(dataset, tmp_path, said))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([text for text in said if text.startswith("decoding")]) == 1
    assert all(np.array_equal(one[0], expected(dataset)[0]) for one in results)
    assert not [name for name in os.listdir(tmp_path) if "partial" in name]


def test_another_split_of_the_same_images_decodes_what_no_split_before_it_had(dataset: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    for names in (("train", "val"), ("test", "val"), ("val", "train", "test"), ("test",)):
        parts = [dataset.split(name) for name in names]
        found = open_crops(dataset, parts, SPEC, folder=tmp_path, report=said.append)
        for crops, part in zip(found, parts, strict=True):
            images = [load(dataset.file(record).read_bytes(), SPEC) for record in part]
            assert np.array_equal(np.stack(list(crops)), np.stack(images))
    count, tested = len(dataset.records), len(dataset.split("test"))
    assert [text.split(" into ")[0] for text in said] == [
        f"decoding {count - tested} of {count - tested} images of drawn",
        f"decoding {tested} of {tested + len(dataset.split('val'))} images of drawn",
        f"{count} decoded images in {tmp_path}",
        f"{tested} decoded images in {tmp_path}",
    ]
    held = sum(file.stat().st_size for file in tmp_path.glob("*.crops"))
    assert held == count * (32 * 32 * 3 + 4 + 32)


def test_of_several_files_the_damaged_one_is_replaced_and_the_others_stay(dataset: Dataset, tmp_path: Path) -> None:
    open_crops(dataset, [dataset.split("train")], SPEC, folder=tmp_path)
    [good] = tmp_path.glob("*.crops")
    opened(dataset, tmp_path)
    [bad] = set(tmp_path.glob("*.crops")) - {good}
    data = bytearray(bad.read_bytes())
    data[100] ^= 1
    bad.write_bytes(data)
    before, said = good.stat().st_mtime_ns, []
    parts = [dataset.split(name) for name in ("train", "val", "test")]
    open_crops(dataset, parts, SPEC, folder=tmp_path, report=said.append)
    assert said[0].startswith(f"decoding {len(parts[1]) + len(parts[2])} of {len(dataset.records)} images")
    assert good.stat().st_mtime_ns == before
    assert not bad.exists()


def test_a_cache_that_holds_everything_is_only_read(dataset: Dataset, tmp_path: Path) -> None:
    opened(dataset, tmp_path)
    [lock] = tmp_path.glob("*.lock")
    lock.unlink()
    lock.mkdir()
    said: list[str] = []
    opened(dataset, tmp_path, said)
    assert " decoded images in " in said[0]


def test_what_a_killed_process_left_half_written_goes_away(dataset: Dataset, tmp_path: Path) -> None:
    open_crops(dataset, [dataset.split("train")], SPEC, folder=tmp_path)
    [whole] = tmp_path.glob("*.crops")
    half = tmp_path / f".{whole.name}.partial-01234567"
    half.write_bytes(b"half")
    opened(dataset, tmp_path)
    assert not half.exists()


def test_a_worker_process_is_not_sent_the_images(dataset: Dataset, tmp_path: Path) -> None:
    crops = open_crops(dataset, [dataset.split("train")], SPEC, folder=tmp_path)[0]
    sent = pickle.dumps(crops)
    assert len(sent) < len(crops) * 100
    assert np.array_equal(pickle.loads(sent)[3], crops[3])


def test_where_no_cache_can_be_written_the_originals_are_decoded(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    found = opened(dataset, tmp_path / "file" / "cache", said)
    assert said[0].startswith(f"no cache of decoded images in {tmp_path / 'file' / 'cache'} (Not a directory): ")
    assert said[0].endswith("GB free: --set data.cache=FOLDER")
    assert np.array_equal(found[1], expected(dataset)[1])


def test_the_cache_lies_where_the_user_keeps_such_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_folder() == Path(os.environ["PELAGIA_CACHE_HOME"]) / "crops"
    monkeypatch.delenv("PELAGIA_CACHE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "pelagia" / "crops"


@pytest.mark.parametrize("cached", [False, True], ids=["first run", "cached"])
def test_images_that_are_gone_are_counted_by_class(dataset: Dataset, tmp_path: Path, cached: bool) -> None:
    moved = copy(dataset, tmp_path / "moved")
    if cached:
        opened(moved, tmp_path / "cache")
    records = sorted(record.path for record in moved.split("train") if record.class_name == "copepod")
    for path in records:
        (moved.root / path).unlink()
    with pytest.raises(DatasetError) as caught:
        opened(moved, tmp_path / "cache")
    assert f"{len(records)} of " in str(caught.value)
    assert f"(class 'copepod' {len(records)} of " in str(caught.value)
    assert f"the first {records[0]}: the file is missing; put them back" in str(caught.value)


def test_all_images_of_a_class_corrupt_is_one_message(dataset: Dataset, tmp_path: Path) -> None:
    broken = copy(dataset, tmp_path / "broken")
    records = [record for record in broken.records if record.class_name == "medusa" and record.split != "test"]
    for record in records:
        file = broken.file(record)
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(
        DatasetError, match=rf"class 'medusa' {len(records)} of {len(records)}\), the first .*have changed"
    ):
        opened(broken, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.crops"))
    with pytest.raises(DatasetError, match="bytes have changed since the dataset was made; run `pelagia dataset check"):
        opened(broken, tmp_path / "cache", stream=True)


def test_an_image_that_changed_after_it_was_cached_is_noticed(dataset: Dataset, tmp_path: Path) -> None:
    changing = copy(dataset, tmp_path / "dataset")
    opened(changing, tmp_path / "cache")
    first, second = changing.split("train")[:2]
    data = changing.file(second).read_bytes()
    changing.file(first).write_bytes(data)
    with pytest.raises(
        DatasetError, match=rf"1 of .* {first.path}: the image's bytes have changed since the dataset was"
    ):
        opened(changing, tmp_path / "cache")
    shutil.copy(dataset.file(first), changing.file(first))
    opened(changing, tmp_path / "cache")


def test_an_unchanged_image_is_not_read_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(dataset, tmp_path)
    read: list[Path] = []
    monkeypatch.setattr("pelagia_training.data.unchanged.sha256_of_file", read.append)
    opened(dataset, tmp_path)
    assert read == []
    touched = dataset.split("train")[0]
    [seen] = tmp_path.glob("*.seen")
    assert seen.stat().st_size == 64 * len(dataset.split("train") + dataset.split("val"))
    monkeypatch.setattr("pelagia_training.data.unchanged.sha256_of_file", lambda path: read.append(path) or "other")
    seen.write_bytes(seen.read_bytes()[:64])  # damaged or from an earlier state: the others are read
    with pytest.raises(DatasetError, match="have changed since the dataset was made"):
        opened(dataset, tmp_path)
    assert len(read) >= len(dataset.split("train")) - 1
    assert touched.path
