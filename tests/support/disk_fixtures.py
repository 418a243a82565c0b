"""A small disk that a test can fill: a tmpfs in a separate mount namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_fixtures import REPOSITORY

MEGABYTES = 8
Result = subprocess.CompletedProcess[str]


class Mounts:
    """A separate mount namespace: only programs that run in it see its mounts, which end with it."""

    def __init__(self, holder: subprocess.Popen[str]) -> None:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self._enter = ["nsenter", "--target", str(holder.pid), "--mount", *user]

    def start(self, *command: object) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        words = [*self._enter, *map(str, command)]
        return subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *command: object) -> Result:
        process = self.start(*command)
        said, told = process.communicate(timeout=300)
        return subprocess.CompletedProcess([], process.returncode, said, told)

    def must(self, *command: object) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pelagia(self, *arguments: object) -> Result:
        return self.run(sys.executable, "-m", "pelagia.cli", *arguments)

    def classify(self, *arguments: object) -> Result:
        return self.pelagia("classify", *arguments)


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "nsenter", "mount"))):
        pytest.skip("mounting a small disk needs Linux with unshare, nsenter and mount")
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    keep = "mount -t tmpfs -o size=64k tmpfs /mnt && echo ready && exec sleep 600"
    pipe = subprocess.PIPE
    with subprocess.Popen([*own, "sh", "-c", keep], stdout=pipe, stderr=pipe, text=True) as holder:
        try:
            if not holder.stdout or holder.stdout.readline() != "ready\n":
                pytest.skip(f"this machine lets nobody mount a disk: {holder.stderr and holder.stderr.read().strip()}")
            yield Mounts(holder)
        finally:
            holder.kill()


@pytest.fixture
def disk(mounts: Mounts, tmp_path: Path) -> Path:
    """A disk of 8 MB, which only programs in the mount namespace see."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounts.must("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder)
    return folder


def fill(mounts: Mounts, disk: Path, left: int) -> None:
    """Fills the disk until ``left`` kilobytes are free."""
    free = int(mounts.must("stat", "--file-system", "--format=%a", disk)) * os.sysconf("SC_PAGE_SIZE") // 1024
    mounts.must("dd", "if=/dev/zero", f"of={disk}/filler", "bs=1024", f"count={free - left}", "status=none")
