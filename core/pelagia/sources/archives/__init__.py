"""Zip and tar archives, read as streams. A member is an image if its name has the ending of an image file."""

from pelagia.sources.archives.names import is_archive_name

__all__ = ["cut_short", "is_archive_name"]


def cut_short(error: Exception, found: int) -> str:
    """The message of the failed image that stands for the damaged rest of an archive.

    Args:
        error: what is damaged.
        found: the number of images that were listed before.
    """
    return f"{error}; images listed before the damage: {found}; download or copy the archive again"
