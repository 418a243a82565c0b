"""The self-test that a model carries."""

from dataclasses import replace

import pytest

from pelagia.errors import ModelError
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.verify import verify


def with_reference(model: ModelFile, **changes: object) -> ModelFile:
    first, *rest = model.metadata.references
    changed = (first.model_copy(update=changes), *rest)
    return replace(model, metadata=model.metadata.model_copy(update={"references": changed}))


def test_a_fresh_model_works_here(model: ModelFile) -> None:
    result = verify(model)
    assert result.images == len(model.metadata.references) >= 1
    assert result.max_probability_difference <= 1e-4


def test_other_probabilities_are_noticed(model: ModelFile) -> None:
    expected = model.metadata.references[0].probabilities
    wrong = (expected[0] + 0.001, *expected[1:])
    with pytest.raises(ModelError, match=r"differ by 0\.001 from the trainer's \(allowed: 0\.0001\)"):
        verify(with_reference(model, probabilities=wrong))


def test_a_damaged_reference_image_is_noticed(model: ModelFile) -> None:
    with pytest.raises(ModelError, match="is damaged: copy the file again"):
        verify(with_reference(model, sha256="0" * 64))
