"""Commands as a person types them in a shell. Every command line in a message is made here.

Invariant: a path with spaces or other special characters is quoted, so that the line can be copied and run.
"""

from __future__ import annotations

import os
import shlex
import subprocess


def command_line(*words: object) -> str:
    """The line that a person types to run ``words``: quoted for a POSIX shell, or for Windows if it runs there."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)
