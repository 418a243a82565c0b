"""A new version of a dataset keeps the groups and splits of its parent."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pelagia.dataset.check import check, leaks
from pelagia.dataset.differences import compare
from pelagia.dataset.schema import Dataset, SplitMeta
from pelagia.dataset.write import Candidate, write_dataset

STATION = SplitMeta(group_column="station", fractions=(0.5, 0.25, 0.25))


@pytest.fixture
def at_station(tmp_path, put):
    """Makes candidates: station -> seeds of the contents; every second one is a medusa."""

    def candidates(**stations):
        return [
            Candidate(
                put(tmp_path / "in" / f"{station}_{seed}.png", seed=seed),
                "medusa" if seed % 2 else "copepod",
                f"{station}_{seed}.png",
                group=station,
                extra={"station": station},
            )
            for station, seeds in stations.items()
            for seed in seeds
        ]

    return candidates


@pytest.fixture
def parent(tmp_path, at_station):
    seeds = {f"s{number}": range(number * 10, number * 10 + 4) for number in range(8)}
    return write_dataset(tmp_path / "v1", at_station(**seeds), source={"kind": "test"}, split=STATION)


def version(tmp_path, parent, candidates, name="v2", **options):
    made = write_dataset(tmp_path / name, candidates, source={"kind": "test"}, parents=[parent], **options)
    assert check(made.root) == []
    return made


def again(parent):
    return [
        Candidate(parent.file(one), one.class_name, one.source, group=one.extra["station"], extra=one.extra)
        for one in parent.records
    ]


def split_of_groups(dataset):
    return {one.group: one.split for one in dataset.records}


def test_images_and_groups_of_the_parent_keep_their_split_and_new_groups_get_one(tmp_path, parent, at_station):
    new = at_station(**{f"n{number}": range(100 + number * 10, 104 + number * 10) for number in range(6)})
    later = at_station(s0=[300, 301], s5=[302])
    made = version(tmp_path, parent, again(parent) + new + later, split=SplitMeta(seed=99))
    found = compare(parent.records, made.records)
    assert (len(found.added), found.removed, found.relabeled, found.moved) == (27, (), (), ())
    before, after = split_of_groups(parent), split_of_groups(made)
    assert {group: after[group] for group in before} == before
    assert {after[f"n{number}"] for number in range(6)} == {"train", "val", "test"}
    (said,) = made.meta.parents
    assert (said.path, said.name, said.fingerprint) == ("../v1", "v1", parent.meta.fingerprint)
    assert (said.images, said.added, said.removed, said.relabeled, said.moved) == (32, 27, 0, 0, 0)
    assert made.meta.split.fractions == STATION.fractions


def test_the_same_images_with_another_label_and_without_some_are_counted(tmp_path, parent):
    first, *rest = again(parent)
    made = version(tmp_path, parent, [replace(first, class_name="medusa"), *rest[:-2]])
    (said,) = made.meta.parents
    assert (said.added, said.removed, said.relabeled, said.moved) == (0, 2, 1, 0)
    assert Dataset.read(made.root).meta.parents == made.meta.parents


def copied(image, target):
    """A near-duplicate: the image, saved again a little brighter."""
    pixels = cv2.imread(str(image)).astype(np.int16) + 3
    cv2.imwrite(str(target), np.clip(pixels, 0, 255).astype(np.uint8))
    return target


def test_a_copy_of_a_held_out_image_is_held_out_whatever_its_station(tmp_path, parent):
    held = next(one for one in parent.records if one.split == "test")
    trained = next(one.group for one in parent.records if one.split == "train")
    copies = [
        Candidate(copied(parent.file(held), tmp_path / f"{station}.png"), held.class_name, station, group=station)
        for station in (trained, "unheard of")
    ]
    copies[1] = replace(copies[1], file=copied(parent.file(held), tmp_path / "b.jpg"))
    made = version(tmp_path, parent, again(parent) + copies)
    assert {one.source: (one.group, one.split) for one in made.records if one.source in (trained, "unheard of")} == {
        trained: (held.group, "test"),
        "unheard of": (held.group, "test"),
    }
    assert leaks(made) == []
    assert any("new images look the same as an image in another split" in text for text in made.meta.warnings)
    kept = version(tmp_path, parent, again(parent) + copies, "v3", split=SplitMeta(join_near_duplicates=False))
    assert [one.split for one in kept.records if one.source == trained] == ["train"]


def test_a_group_that_was_joined_under_another_name_is_found_by_its_station(tmp_path, at_station):
    first = at_station(**{f"s{number}": range(number * 10, number * 10 + 4) for number in range(8)})
    twin = Candidate(copied(first[0].file, tmp_path / "t.png"), "copepod", "t", "zz", extra={"station": "zz"})
    parent = write_dataset(tmp_path / "v1", [*first, twin], source={"kind": "test"}, split=STATION)
    group = {one.source: one.group for one in parent.records}
    assert group["t"] == group["s0_0.png"] == "s0"
    made = version(tmp_path, parent, again(parent) + at_station(zz=[400]))
    (new,) = (one for one in made.records if one.source == "zz_400.png")
    assert (new.group, new.split) == ("s0", split_of_groups(parent)["s0"])


def test_a_third_version_keeps_what_the_first_one_held_out(tmp_path, parent, at_station):
    second = version(tmp_path, parent, again(parent) + at_station(n1=[500, 501]))
    third = version(tmp_path, second, again(second) + at_station(n1=[502], n2=[503]), "v3")
    assert compare(parent.records, third.records).moved == ()
    splits = split_of_groups(third)
    assert len({one.split for one in third.records if one.extra["station"] == "n1"}) == 1
    assert splits["n1"] == split_of_groups(second)["n1"]
