"""The version of the installed Pelagia."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pelagia")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
