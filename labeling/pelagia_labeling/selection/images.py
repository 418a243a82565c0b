"""The bytes of the images of a pool, wherever they are: files, archives, files of instruments.

Invariant: an image counts only if its bytes are those that the model saw (SHA-256).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, ListingOptions, list_images
from pelagia.sources.image import read_encoded
from pelagia.system.files import sha256_of
from pelagia_labeling.selection.pool import Candidate

CHANGED = "changed: the file holds another image than before"


@dataclass
class Images:
    """Reads the images of a pool.

    Attributes:
        inputs: the inputs that hold them.
        options: what decides how the inputs are listed.
    """

    inputs: Sequence[Path]
    options: ListingOptions = ListingOptions()
    _readers: dict[str, Callable[[], bytes]] = field(default_factory=dict)

    def find(self, candidates: Sequence[Candidate]) -> None:
        """Finds the images that are no files of their own, by listing the inputs once.

        Raises:
            InputError: the inputs cannot be listed.
        """
        wanted = {one.path for one in candidates if not Path(one.file).is_file()}
        self._readers = {}
        if not wanted or not all(path.exists() for path in self.inputs):
            return
        for image in list_images(list(self.inputs), Listing(self.options)):
            if image.path in wanted:
                self._readers[image.path] = image.read

    def read(self, one: Candidate) -> tuple[bytes, str]:
        """The encoded image, and why it cannot be used; the reason is empty if it can."""
        try:
            data = read_encoded(self._readers.get(one.path, one.file))
        except FileNotFoundError:
            return b"", "missing: there is no such file"
        except OSError as error:
            return b"", f"unreadable: {error.strerror}"
        except ImageError as error:
            return b"", f"{error.reason}: {error}"
        return (data, "") if sha256_of(data) == one.sha256 else (b"", CHANGED)
