from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pelagia_labeling.importers.dataset import import_dataset


@pytest.fixture
def fault() -> Callable[..., str]:
    """The message of the error of this kind that `import_dataset` raises: ``fault(InputError, src, out, ...)``."""

    def fault(kind: type[Exception], *arguments: Any, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            import_dataset(*arguments, **options)
        return str(caught.value)

    return fault
