"""Any input that a field team has, as one stream of images. `pelagia.sources.inputs` lists them.

The names below are the interface of this folder. Each is imported when it is first used: a worker process needs only
the module that reads its images, and starts sooner without the others.
"""

from typing import TYPE_CHECKING

from pelagia.system.lazy import lazy_names

_MODULES = {
    "IMAGE_SUFFIXES": "pelagia.sources.image",
    "KINDS": "pelagia.sources.inputs",
    "LEFT_OUT": "pelagia.sources.listing",
    "PATH_COLUMN": "pelagia.sources.manifest",
    "Kind": "pelagia.sources.image",
    "Listing": "pelagia.sources.listing",
    "ListingOptions": "pelagia.sources.listing",
    "SourceImage": "pelagia.sources.image",
    "left_out_lines": "pelagia.sources.listing",
    "left_out_text": "pelagia.sources.listing",
    "list_images": "pelagia.sources.inputs",
    "other_files_text": "pelagia.sources.listing",
    "read_manifest": "pelagia.sources.manifest",
}
"""Public name -> the module that defines it."""

__all__ = list(_MODULES)

if TYPE_CHECKING:
    from pelagia.sources.image import IMAGE_SUFFIXES as IMAGE_SUFFIXES
    from pelagia.sources.image import Kind as Kind
    from pelagia.sources.image import SourceImage as SourceImage
    from pelagia.sources.inputs import KINDS as KINDS
    from pelagia.sources.inputs import list_images as list_images
    from pelagia.sources.listing import LEFT_OUT as LEFT_OUT
    from pelagia.sources.listing import Listing as Listing
    from pelagia.sources.listing import ListingOptions as ListingOptions
    from pelagia.sources.listing import left_out_lines as left_out_lines
    from pelagia.sources.listing import left_out_text as left_out_text
    from pelagia.sources.listing import other_files_text as other_files_text
    from pelagia.sources.manifest import PATH_COLUMN as PATH_COLUMN
    from pelagia.sources.manifest import read_manifest as read_manifest
else:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
