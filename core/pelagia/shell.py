"""Commands as a person types them in a shell. Every command line in a message is made here.

Invariant: a path with spaces or other special characters is quoted, so that the line can be copied and run.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys


def command_line(*words: object) -> str:
    """The line that a person types to run ``words``: quoted for a POSIX shell, or for Windows if it runs there."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation of Pelagia.

    It uses uv if the environment has no pip. It names the folder or the wheel that Pelagia was installed from, which
    PEP 610 (`direct_url.json`) records; a package that came from an index is named ``pelagia``.
    """
    from importlib.util import find_spec

    source, options = _source()
    wanted = f"{source}[{extra}]"
    if find_spec("pip") is None:
        return command_line("uv", "pip", "install", "--python", sys.executable, *options, wanted)
    return command_line(sys.executable, "-m", "pip", "install", *options, wanted)


def package_with(extra: str) -> str:
    """What pip installs for an extra, quoted, such as ``'pelagia[training]'``: for a command in another environment."""
    return command_line(f"{_source()[0]}[{extra}]")


def _source() -> tuple[str, list[str]]:
    """What to install Pelagia from, and pip's options for it."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    try:
        recorded = json.loads(distribution("pelagia").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return ".", []
    except ValueError:
        recorded = {}
    url = str(recorded.get("url", ""))
    if not url.startswith("file:"):
        return "pelagia", []
    editable = recorded.get("dir_info", {}).get("editable", False)
    return url2pathname(urlparse(url).path), ["--editable"] if editable else []
