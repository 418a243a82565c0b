"""Listing inputs in tests."""

from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError, decode
from pelagia.sources import list_images


def paths(*inputs, listing=None):
    """The names of the images of the inputs."""
    return [image.path for image in list_images([Path(one) for one in inputs], listing)]


def fault(*inputs):
    """The error message for inputs that are wrong."""
    with pytest.raises(InputError) as caught:
        paths(*inputs)
    return str(caught.value)


def by_name(*inputs, listing=None):
    """The name of each image of the inputs -> the image."""
    return {image.path: image for image in list_images(inputs, listing)}


def why(image):
    """The reason why an image cannot be read, and the message."""
    with pytest.raises(ImageError) as caught:
        image.read()
    return caught.value.reason, str(caught.value)


def grey(image):
    """Pixels of an image, uint8, H x W."""
    pixels = decode(image.read())
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    return pixels[..., 0]
