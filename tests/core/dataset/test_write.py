import csv
import os
import signal
from pathlib import Path

import pytest

from pelagia.dataset import write as writer
from pelagia.dataset.check import check
from pelagia.dataset.schema import DROPPED_FILE, Dataset, SplitMeta
from pelagia.dataset.write import Candidate, slug, write_dataset
from pelagia.errors import DatasetError, InputError
from pelagia.taxonomy import taxonomy_of_names


@pytest.fixture
def candidates(tmp_path, put):
    """Makes candidates from (class, seed of the content) pairs."""

    def candidates(*entries, **more):
        made = []
        for at, (name, seed) in enumerate(entries):
            file = put(tmp_path / "in" / f"{at}.png", seed=seed)
            made.append(Candidate(file, name, f"{at}.png", **more))
        return made

    return candidates


def write(tmp_path, candidates, **options):
    return write_dataset(tmp_path / "ds", candidates, source={"kind": "test"}, **options)


def refusal(tmp_path, candidates, **options):
    with pytest.raises(DatasetError) as caught:
        write(tmp_path, candidates, **options)
    assert not [name for name in os.listdir(tmp_path) if "ds" in name]
    return str(caught.value)


def dropped(dataset):
    with (dataset.root / DROPPED_FILE).open(encoding="utf-8", newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


# What is kept


def test_a_dataset_of_one_image_is_whole(tmp_path, candidates):
    made = write(tmp_path, candidates(("a", 0)))
    assert [one.split for one in made.records] == ["train"]
    assert made.meta.counts == {"a": {"train": 1, "val": 0, "test": 0}}
    assert check(made.root) == []


def test_what_an_importer_knows_is_kept(tmp_path, candidates):
    entries = candidates(
        ("a", 0), group="st 1", annotators="ann;bob", agreement="0.5", licence="CC0", extra={"depth": "5"}
    )
    (one,) = write(tmp_path, entries).records
    assert (one.group, one.annotators, one.agreement, one.licence, one.source) == (
        "st 1",
        "ann;bob",
        "0.5",
        "CC0",
        "0.png",
    )
    assert one.extra == {"depth": "5"}
    assert (one.width, one.height) == (40, 30)


def test_the_sides_of_a_large_jpeg_are_its_own(tmp_path, put, encode):
    file = put(tmp_path / "in" / "large.jpg", data=encode("JPEG", height=1500, width=2000))
    (one,) = write(tmp_path, [Candidate(file, "a", "large.jpg")]).records
    assert (one.width, one.height) == (2000, 1500)


def test_survey_columns_of_some_images_are_empty_for_the_others(tmp_path, candidates):
    first, second = candidates(("a", 0), ("a", 1))
    entries = [Candidate(first.file, "a", "0", extra={"x": "1"}), Candidate(second.file, "a", "1", extra={"y": "2"})]
    assert sorted((one.extra["x"], one.extra["y"]) for one in write(tmp_path, entries).records) == [
        ("", "2"),
        ("1", ""),
    ]


def test_an_image_without_a_group_is_its_own(tmp_path, candidates):
    made = write(tmp_path, candidates(("a", 0), ("a", 1)))
    assert [one.group for one in made.records] == [one.sha256[:16] for one in made.records]


def test_images_of_one_name_in_two_folders_do_not_meet(tmp_path, put):
    entries = [Candidate(put(tmp_path / str(at) / "x.png", seed=at), "a", f"{at}/x.png") for at in range(3)]
    made = write(tmp_path, entries)
    assert len({one.path for one in made.records}) == 3
    assert check(made.root) == []


@pytest.mark.parametrize("alike", [8, 16, 63])
def test_images_whose_hashes_begin_alike_never_overwrite_each_other(tmp_path, put, monkeypatch, alike):
    entries = [Candidate(put(tmp_path / str(at) / "x.png", seed=at), "a", f"{at}/x.png") for at in range(3)]
    entries.append(Candidate(put(tmp_path / "4" / "X.png", seed=4), "a", "4/X.png"))
    honest = writer.sha256_of
    monkeypatch.setattr(writer, "sha256_of", lambda data: "0" * alike + honest(data)[: 64 - alike])
    made = write(tmp_path, entries)
    assert len({one.path.lower() for one in made.records}) == 4
    for one, entry in zip(made.records, entries, strict=True):
        assert (made.root / one.path).read_bytes() == entry.file.read_bytes()


@pytest.mark.parametrize(
    "name", ["ø 1.png", "a,b.PNG", "new\nline.png", "-x.png", "x" * 200 + ".png", "no suffix", "x.p\nn:g"]
)
def test_odd_file_names_become_plain_ones(tmp_path, put, name):
    made = write(tmp_path, [Candidate(put(tmp_path / "in" / name), "Ceratium (ø)/2", name)])
    (one,) = made.records
    assert one.source == name
    assert set(one.path) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/")
    assert len(Path(one.path).parts) == 3
    assert check(made.root) == []


@pytest.mark.parametrize(
    ("name", "plain"),
    [("a b", "a_b"), ("..", "_"), ("", "_"), ("ø", "_"), ("a/../b", "a_.._b"), ("x" * 100, "x" * 80), (".a.", "a")],
)
def test_a_slug_is_a_safe_file_name(name, plain):
    assert slug(name) == plain


@pytest.mark.parametrize("name", ["line\nbreak", "ø, 1", "a: b #c", os.fsdecode(b"caf\xe9")])
def test_the_dataset_itself_may_have_an_odd_name(tmp_path, candidates, name):
    made = write_dataset(tmp_path / name, candidates(("a", 0)), source={})
    assert Dataset.read(tmp_path / name) == made


def test_progress_counts_every_image(tmp_path, candidates):
    steps = []
    write(tmp_path, candidates(("a", 0), ("a", 1), ("a", 2)), progress=steps.append)
    assert sum(steps) == 3


# What is left out


def test_bad_images_are_dropped_with_their_reasons(tmp_path, candidates, put, encode):
    (good,) = candidates(("a", 0))
    for name, data in (("empty.png", b""), ("text.png", b"hello"), ("cut.jpg", encode("JPEG")[:-9])):
        put(tmp_path / "in" / name, data=data)
    (tmp_path / "in" / "folder.png").mkdir()
    (tmp_path / "in" / "loop.png").symlink_to("loop.png")
    names = ["missing.png", "empty.png", "text.png", "cut.jpg", "folder.png", "loop.png"]
    made = write(
        tmp_path, [good, *(Candidate(tmp_path / "in" / name, "a", name) for name in names)], left_out={"no_class": 2}
    )
    assert dropped(made) == [
        ("missing.png", "missing", "there is no such file"),
        ("empty.png", "empty", "the file has no bytes"),
        ("text.png", "undecodable", "not a complete image of a known format"),
        ("cut.jpg", "undecodable", "a truncated JPEG: its end is missing"),
        ("folder.png", "unreadable", "Is a directory"),
        ("loop.png", "unreadable", "Too many levels of symbolic links"),
    ]
    assert made.meta.left_out == {"empty": 1, "missing": 1, "no_class": 2, "undecodable": 2, "unreadable": 2}


def test_an_image_without_permission_is_dropped(tmp_path, candidates, as_nobody):
    entries = candidates(("a", 0), ("a", 1))
    (tmp_path / "in").chmod(0o755)
    entries[1].file.chmod(0)
    as_nobody(lambda: write(tmp_path, entries) and None)
    assert dropped(Dataset.read(tmp_path / "ds")) == [("1.png", "unreadable", "Permission denied")]


def test_where_nothing_is_dropped_there_is_no_list(tmp_path, candidates):
    assert not (write(tmp_path, candidates(("a", 0))).root / DROPPED_FILE).exists()


def test_of_equal_images_the_first_is_kept(tmp_path, candidates):
    made = write(tmp_path, candidates(("a", 0), ("a", 1), ("a", 0), ("a", 0)))
    assert sorted(one.source for one in made.records) == ["0.png", "1.png"]
    assert dropped(made) == [("2.png", "duplicate", "of 0.png"), ("3.png", "duplicate", "of 0.png")]
    assert made.meta.left_out == {"duplicate": 2}


def test_an_image_under_two_classes_is_refused(tmp_path, candidates):
    assert refusal(tmp_path, candidates(("a", 0), ("b", 1), ("b", 0))) == (
        "1 image(s) have two classes: 0.png (a) = 2.png (b); "
        "correct the labels, or leave all copies out with --conflicts drop"
    )


def test_an_image_under_two_classes_is_left_out_with_all_its_copies(tmp_path, candidates):
    made = write(tmp_path, candidates(("a", 0), ("b", 1), ("b", 0), ("a", 0)), conflicts="drop")
    assert [one.source for one in made.records] == ["1.png"]
    detail = "the same image is under a, b"
    assert dropped(made) == [(f"{at}.png", "conflict", detail) for at in (0, 2, 3)]


def test_a_class_that_lost_all_its_images_stays_in_the_taxonomy(tmp_path, candidates):
    made = write(tmp_path, candidates(("a", 0), ("b", 0), ("c", 1)), conflicts="drop")
    assert made.meta.counts["a"] == {"train": 0, "val": 0, "test": 0}
    assert check(made.root) == []


def test_where_nothing_can_be_used_the_reasons_are_named(tmp_path, put):
    entries = [Candidate(put(tmp_path / f"{at}.png", data=b"x"), "a", f"{at}.png") for at in range(2)]
    assert refusal(tmp_path, [*entries, Candidate(tmp_path / "no", "a", "no")]) == (
        "none of the 3 images can be used: 2 undecodable, 1 missing "
        "(first: 0.png: not a complete image of a known format)"
    )


def test_no_candidate_is_no_dataset(tmp_path):
    assert refusal(tmp_path, []) == "there is no labeled image to import: check that the images have labels"


# The taxonomy


def test_a_class_that_the_taxonomy_lacks_is_refused(tmp_path, candidates):
    taxonomy = taxonomy_of_names("sea", ["copepod", "medusa"])
    assert refusal(tmp_path, candidates(("copepd", 0), ("copepd", 1), ("whale", 2)), taxonomy=taxonomy) == (
        "the taxonomy 'sea' has no class 'copepd' (2 images) (did you mean 'copepod'?), 'whale' (1 images): "
        "add it there, or leave those images out"
    )


def test_a_taxonomy_gives_the_order_of_the_classes(tmp_path, candidates):
    taxonomy = taxonomy_of_names("sea", "abc").model_copy(
        update={"classes": taxonomy_of_names("sea", "abc").classes[::-1]}
    )
    assert write(tmp_path, candidates(("a", 0)), taxonomy=taxonomy).class_names == ("c", "b", "a")


# Whole or absent


def test_an_existing_dataset_is_never_touched(tmp_path, candidates):
    made = write(tmp_path, candidates(("a", 0)))
    with pytest.raises(InputError) as caught:
        write(tmp_path, candidates(("a", 1)))
    assert str(caught.value) == (
        f"the dataset {tmp_path / 'ds'} exists already: choose another name, or remove it first"
    )
    assert Dataset.read(tmp_path / "ds") == made


def test_an_import_that_fails_midway_leaves_nothing(tmp_path, candidates):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, candidates(("a", 0), ("a", 1)), progress=stop)
    assert os.listdir(tmp_path) == ["in"]


def test_an_import_killed_midway_leaves_no_dataset_and_the_next_one_works(tmp_path, candidates, start):
    entries = candidates(*(("a", at) for at in range(20)))
    process = start(
        "import sys, time; from pathlib import Path; from pelagia.dataset import write as writer\n"
        "class Slow(writer.Candidate):\n"
        "    reads = 0\n"
        "    def read(self):\n"
        "        Slow.reads += 1\n"
        "        if Slow.reads > 20: print('copied', flush=True); time.sleep(0.2)\n"
        "        return super().read()\n"
        "files = sorted(Path(sys.argv[1]).glob('in/*.png'))\n"
        "writer.write_dataset(Path(sys.argv[1]) / 'ds', [Slow(f, 'a', f.name) for f in files], source={})",
        tmp_path,
    )
    for _ in range(3):
        assert process.stdout.readline() == "copied\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sorted(name for name in os.listdir(tmp_path) if not name.startswith(".")) == ["in"]
    assert check(write(tmp_path, entries).root) == []


def test_a_folder_that_cannot_be_written_is_an_os_error_and_leaves_nothing(tmp_path, candidates, as_nobody):
    entries = candidates(("a", 0))
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        as_nobody(lambda: write(tmp_path, entries))
    assert os.listdir(tmp_path) == ["in"]


# Splits and versions


def test_groups_are_never_cut(tmp_path, put):
    entries = [
        Candidate(put(tmp_path / "in" / f"{at}.png", seed=at), "ab"[at % 2], f"{at}", group=f"st{at % 7}")
        for at in range(40)
    ]
    made = write(tmp_path, entries, split=SplitMeta(group_column="station"))
    assert check(made.root) == []
    assert {one.split for one in made.records} == {"train", "val", "test"}


def test_the_same_images_give_the_same_version_whatever_their_order(tmp_path, candidates):
    entries = candidates(*(("ab"[at % 2], at) for at in range(12)))
    first = write_dataset(tmp_path / "1", entries, source={})
    second = write_dataset(tmp_path / "2", entries[::-1], source={})
    other = write_dataset(tmp_path / "3", entries[:-1], source={})
    assert first.meta.fingerprint == second.meta.fingerprint != other.meta.fingerprint
