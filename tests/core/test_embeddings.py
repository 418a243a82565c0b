"""Embeddings come back as they were written, and what is no file of embeddings is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pelagia.embeddings import read_embeddings, writing_embeddings
from pelagia.errors import InputError

MODEL = "a" * 64


def test_embeddings_come_back_as_they_were_written(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    with writing_embeddings(tmp_path / "embeddings.parquet", MODEL) as writer:
        writer.add(["a", "b"], ["1", "2"], vectors[:2])
        writer.add(["c", "d", "e"], ["3", "4", "1"], vectors[2:].astype(np.float32))
    found = read_embeddings(tmp_path)
    assert (found.model_sha256, found.paths, found.sha256) == (MODEL, (*"abcde",), ("1", "2", "3", "4", "1"))
    assert found.vectors.dtype == np.float16
    np.testing.assert_array_equal(found.vectors, vectors)
    assert found.index() == {"1": 0, "2": 1, "3": 2, "4": 3}


def test_a_file_without_images_can_be_read(tmp_path: Path) -> None:
    with writing_embeddings(tmp_path / "none.parquet", MODEL):
        pass
    assert len(read_embeddings(tmp_path / "none.parquet")) == 0


def test_an_interrupted_file_is_not_left(tmp_path: Path) -> None:
    def interrupted() -> None:
        with writing_embeddings(tmp_path / "half.parquet", MODEL) as writer:
            writer.add(["a"], ["1"], np.zeros((1, 3)))
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"no parquet", b"PAR1"])
def test_what_is_no_file_of_embeddings_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "embeddings.parquet"
    if content is not None:
        file.write_bytes(content)
    fault = (
        "there are no embeddings at" if content is None else "is no file of embeddings, or is damaged: make one with"
    )
    with pytest.raises(InputError, match=fault):
        read_embeddings(file)


def test_a_parquet_table_of_something_else_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"path": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="does not hold embeddings"):
        read_embeddings(tmp_path / "x.parquet")
