"""Class folders: ``split/class/image``, and a manifest that holds the rest.

`pelagia dataset import OUT --split-folders` reads the folders; with ``--manifest OUT/manifest.csv --split-column
split`` it reads the groups and the other columns too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from pelagia.dataset.schema import MANIFEST_COLUMNS, MANIFEST_FILE
from pelagia.shell import command_line
from pelagia.system.names import safe_name, safe_names
from pelagia.system.tables import write_table
from pelagia_labeling.exports.exporting import Exporting, extra_columns


def write(work: Exporting) -> list[str]:
    """Writes the folders and the manifest; says which classes have a folder with another name."""
    paths = write_class_folders(work, {})
    extra = extra_columns(work.records)
    rows = (record.row() | {"path": path} for record, path in zip(work.records, paths, strict=True))
    columns = [*MANIFEST_COLUMNS, *extra]
    write_table(
        work.folder / MANIFEST_FILE,
        columns,
        ([row.get(name, "") for name in columns] for row in rows),
        guard_formulas=False,
    )
    return renamed_note(work)


def write_class_folders(work: Exporting, split_names: Mapping[str, str]) -> list[str]:
    """Copies every image to ``split/class/name``.

    Args:
        work: the export.
        split_names: split -> the name of its folder, if that differs.

    Returns:
        The path of each image below the folder.
    """
    folders = safe_names(work.dataset.class_names)
    used: set[str] = set()
    paths = []
    for record in work.records:
        parent = f"{split_names.get(record.split, record.split)}/{folders[record.class_name]}"
        name = PurePosixPath(safe_name(PurePosixPath(record.path).name))
        path = f"{parent}/{name}"
        if path.casefold() in used:
            path = f"{parent}/{name.stem}-{record.sha256[:16]}{name.suffix}"
        used.add(path.casefold())
        work.copy(record, path)
        paths.append(path)
    return paths


def renamed_note(work: Exporting) -> list[str]:
    """A sentence that names the classes whose folder has another name, and the options with which they come back."""
    renamed = {name: folder for name, folder in safe_names(work.dataset.class_names).items() if name != folder}
    if not renamed:
        return []
    options = " ".join(f"--rename {command_line(f'{folder}={name}')}" for name, folder in renamed.items())
    return [
        f"{len(renamed)} classes have a folder with another name, which Windows allows; to get the names back, import "
        f"with {options}"
    ]
