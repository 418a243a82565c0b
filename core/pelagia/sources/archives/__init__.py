"""Zip and tar archives, read as streams. A member is an image if its name has the ending of an image file."""

from pelagia.sources.archives.names import is_archive_name

__all__ = ["is_archive_name"]
