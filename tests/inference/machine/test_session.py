"""One loaded model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pelagia.errors import ModelError
from pelagia.model.counting import COUNTING_KEY
from pelagia.model.metadata import ModelFile, write_model
from pelagia.model.onnx_file import with_metadata
from pelagia.model.policies import POLICIES_KEY
from pelagia.model.sealed import DIGEST_KEY, METADATA_KEY
from pelagia_inference.machine.session import Session


def test_probabilities_sum_to_one_at_every_batch_size(model: ModelFile) -> None:
    session = Session(model)
    for batch in (1, 2, 7, 8, 33):
        rows = session.probabilities(np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8))
        assert rows.shape == (batch, len(model.metadata.classes))
        assert rows.dtype == np.float32
        assert np.allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_a_graph_that_is_cut_short_is_refused_in_one_line(model: ModelFile) -> None:
    damaged = replace(model, data=model.data[:2000])
    with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
        Session(damaged)


def test_a_graph_of_another_size_than_its_metadata_is_refused(model: ModelFile) -> None:
    wrong = replace(model.graph, preprocess=replace(model.metadata.preprocess, size=48))
    with pytest.raises(ModelError, match="does not fit its metadata"):
        Session(wrong)


def test_a_model_survives_being_written_and_read(model: ModelFile, tmp_path: Path) -> None:
    documents = ((METADATA_KEY, model.metadata), (POLICIES_KEY, model.policies), (COUNTING_KEY, model.counting))
    texts = [(key, document.model_dump_json()) for key, document in documents if document is not None]
    ours = b"".join(with_metadata(b"", key, text) for key, text in [*texts, (DIGEST_KEY, "0" * 64)])
    bare = model.data[: -len(ours)]
    write_model(tmp_path / "again.onnx", bare, model.metadata, policies=model.policies, counting=model.counting)
    assert ModelFile.read(tmp_path / "again.onnx").data == model.data
