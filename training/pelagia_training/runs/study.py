"""The folder of a study: several runs beside one JSON document, which is there before the first run.

Invariant: a folder in which nothing was begun is removed only if all files in it are those of a study.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pelagia.config import made_by_newer
from pelagia.errors import InputError, first_line

Document = TypeVar("Document", bound=BaseModel)


def read_document(path: Path, schema: type[Document], what: str) -> Document:
    """Reads the document of a study.

    Args:
        what: what the folder is, such as ``sweep``.

    Raises:
        InputError: it is damaged, or a newer version wrote it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if fault := made_by_newer(document, schema):
            raise InputError(f"the {what} {path.parent} {fault}")
        return schema.model_validate(document)
    except (ValueError, ValidationError) as error:
        raise InputError(
            f"{path} is damaged ({first_line(error)}): choose another --out, or remove the {what}"
        ) from None


def is_among(file: Path, names: Sequence[str]) -> bool:
    """Whether a study makes this file, complete or partial, before its first run: its name begins with one of these."""
    return file.name.startswith(tuple(names)) or (file.name.startswith(".") and ".partial-" in file.name)


def remove_unused(out: Path, names: Sequence[str]) -> None:
    """Removes these files of a study, and the folder if nothing else is in it."""
    with suppress(OSError):
        for file in [*out.iterdir()]:
            if is_among(file, names) and file.is_file():
                file.unlink(missing_ok=True)
        out.rmdir()
