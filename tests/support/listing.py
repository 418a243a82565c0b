"""Listing inputs in tests."""

from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.sources import list_images


def paths(*inputs, listing=None):
    """The names of the images of the inputs."""
    return [image.path for image in list_images([Path(one) for one in inputs], listing)]


def fault(*inputs):
    """The error message for inputs that are wrong."""
    with pytest.raises(InputError) as caught:
        paths(*inputs)
    return str(caught.value)
