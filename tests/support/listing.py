"""Listing inputs in tests."""

from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.sources import list_images


def paths(*inputs, tally=None):
    """Names of the images of some inputs."""
    return [image.path for image in list_images([Path(one) for one in inputs], tally)]


def fault(*inputs):
    """What is said of inputs that are wrong."""
    with pytest.raises(InputError) as caught:
        paths(*inputs)
    return str(caught.value)
