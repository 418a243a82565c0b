"""A Hugging Face ``imagefolder``: ``train/class/image`` and a ``metadata.csv`` for each split.

https://huggingface.co/docs/datasets/image_dataset describes the layout, and
https://huggingface.co/docs/hub/datasets-data-files-configuration the card: without its ``configs``, an image named
``a_test_1.png`` in ``train`` would also be taken for an image of test. `pelagia dataset import OUT --split-folders`
reads the folders again.
"""

from __future__ import annotations

from collections.abc import Mapping

from pelagia.dataset.schema import Record
from pelagia.dataset.splits import SPLITS
from pelagia.system.files import write_text
from pelagia.system.tables import write_table
from pelagia_labeling.exports.exporting import Exporting, extra_columns
from pelagia_labeling.exports.folders import renamed_note, write_class_folders

SPLIT_NAMES: Mapping[str, str] = {"val": "validation"}
_OWN = ("file_name", "label", "group", "sha256", "source", "licence", "annotators", "agreement")
_TAKEN = frozenset({*_OWN, "image", "file_names"})
"""Names that a column of the survey may not have; ``image`` is the name that the library gives to the image."""


def write(work: Exporting) -> list[str]:
    """Writes the folders, the tables and the card."""
    paths = write_class_folders(work, SPLIT_NAMES)
    extra = extra_columns(work.records)
    header = [*_OWN, *(f"survey_{name}" if name in _TAKEN else name for name in extra)]
    present = [split for split in SPLITS if any(record.split == split for record in work.records)]
    for split in present:
        name = SPLIT_NAMES.get(split, split)
        rows = [
            _row(record, path.removeprefix(f"{name}/"), extra)
            for record, path in zip(work.records, paths, strict=True)
            if record.split == split
        ]
        write_table(work.folder / name / "metadata.csv", header, rows, guard_formulas=False)
    write_text(work.folder / "README.md", _card(work, present))
    return renamed_note(work)


def _row(record: Record, file_name: str, extra: list[str]) -> list[str]:
    own = [
        file_name,
        record.class_name,
        record.group,
        record.sha256,
        record.source,
        record.licence,
        record.annotators,
        record.agreement,
    ]
    return own + [record.extra.get(name, "") for name in extra]


def _card(work: Exporting, splits: list[str]) -> str:
    """The dataset's card: which files are of which split, and where the dataset comes from."""
    names = [SPLIT_NAMES.get(split, split) for split in splits]
    files = "".join(f"  - split: {name}\n    path: {name}/**\n" for name in names)
    meta = work.dataset.meta
    return (
        "---\ntask_categories:\n- image-classification\n"
        f"configs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        f"# {meta.name}\n\n{meta.images} images of {len(meta.counts)} classes. The column `label` is the class. Images "
        "with the same value of `group` are in one split.\n\n"
        f"Made by Pelagia from the dataset with the fingerprint `{meta.fingerprint}`.\n"
    )
