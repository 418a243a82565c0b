"""Archives that the tests make, and what Pelagia finds in them."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources import list_images

PACK = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def names(*inputs, listing=None):
    return [image.path for image in list_images(inputs, listing)]


def outcomes(path):
    """Name -> bytes, or the reason why not."""
    found = {}
    for image in list_images([path]):
        try:
            found[image.path] = image.read()
        except ImageError as error:
            found[image.path] = f"{error.reason}: {error}"
    return found


def fault(path):
    with pytest.raises(InputError) as caught:
        list(list_images([path]))
    return str(caught.value)


@pytest.fixture
def make_zip(tmp_path):
    """Writes a zip of (name, bytes), in any of zipfile's ways."""

    def make(*members, name="cast.zip", method=zipfile.ZIP_DEFLATED, prefix=b""):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for member, data in members:
                archive.writestr(member, data)
        path = tmp_path / name
        path.write_bytes(prefix + buffer.getvalue())
        return path

    return make


@pytest.fixture
def make_tar(tmp_path):
    """Writes a tar of (name, bytes) or TarInfo, packed as its name says."""

    def make(*members, name="cast.tar", form=tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                    continue
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
        path = tmp_path / name
        path.write_bytes(PACK["." + name.partition(".")[2]](buffer.getvalue()))
        return path

    return make


@pytest.fixture(params=["cast.zip", *(f"cast{ending}" for ending in PACK)])
def make(request, make_zip, make_tar):
    """Writes an archive of each kind."""
    maker = make_zip if request.param.endswith(".zip") else make_tar
    return lambda *members: maker(*members, name=request.param)
