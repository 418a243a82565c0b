"""Zip and tar archives, streamed: a member is an image by the ending of its name."""

from pelagia.sources.archives.names import is_archive_name

__all__ = ["is_archive_name"]
