"""Zip and tar archives, read as streams. A member whose name ends as an image name does is an image."""

from pelagia.sources.archives.names import is_archive_name

__all__ = ["is_archive_name"]
