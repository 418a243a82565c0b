"""Writes the embeddings of a survey as ``embeddings.parquet``, only from its journal.

Invariant: the file has one row for each image of the survey that has an embedding, sorted by path; it is complete or
absent. `pelagia.embeddings` reads it.
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from pelagia.embeddings import EMBEDDINGS_FILE, writing_embeddings
from pelagia.errors import MissingExtra, SurveyError
from pelagia.model.embedder import embedding_model_of
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey

EMBEDDINGS = "embeddings"
"""Its key in `SurveyResult.files`."""
_ROWS_AT_ONCE = 4096


def embeddings_wanted(model: ModelFile, folder: Path, asked: bool) -> bool:
    """Whether a run computes embeddings: it was asked to, or the survey in ``folder`` has some of this model already.

    Raises:
        ModelError: the model has no embedding.
        MissingExtra: pyarrow is not installed.
    """
    if not asked:
        try:
            with Survey.open(folder) as survey:
                asked = survey.keeps_embeddings and survey.meta["model_sha256"] == model.sha256
        except SurveyError:  # no survey yet, or one that cannot be read; opening it to write reports the fault
            return False
    if not asked:
        return False
    embedding_model_of(model)
    if find_spec("pyarrow") is None:
        raise MissingExtra(f"writing {EMBEDDINGS_FILE}", "parquet", "pyarrow")
    return True


def write_survey_embeddings(survey: Survey) -> tuple[Path, list[str]]:
    """Writes the file. Returns its path, and a warning if classified images have no embedding."""
    target = survey.folder / EMBEDDINGS_FILE
    written = 0
    with writing_embeddings(target, survey.meta["model_sha256"]) as file:
        rows = survey.embeddings()
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            paths, hashes, vectors = zip(*part, strict=True)
            file.add(paths, hashes, np.stack(vectors))
            written += len(part)
    missing = survey.counts_by_class().total() - written
    if not missing:
        return target, []
    return target, [
        f"{missing} images were classified before but have no embedding, because they could not be read again: connect "
        "the drive with the images and run the same command again"
    ]
