"""Push and pull of many tiny images with predictions, against a Label Studio of their own.

    .venv/bin/python -m benchmarks.labeling.scale --tasks 100000

1. The limit: the same tasks with their predictions through the raw API, the fastest that it can be called.
2. `pelagia label push` of the same number: its rate as a share of the limit (target: 0.85), and its memory.
3. The same push again: it must add nothing, in under a tenth of the time.
4. A push whose client is killed ten times and whose server is killed three times (SIGKILL): one task and one prediction
   for each image must be the result.
5. All predictions are accepted in the table; `pelagia label pull` of all.

Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.harness import REPOSITORY, Peak
from pelagia.config import dump_yaml
from pelagia.survey.journal import Prediction, Survey
from pelagia.taxonomy import Taxonomy, taxonomy_of_names
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection, connect
from pelagia_labeling.studio.server import HOME_VARIABLE, read_studio, start_studio, stop_studio
from pelagia_labeling.tasks.interface import build_interface, class_result
from pelagia_labeling.tasks.project import PREDICTIONS, find_project, list_tasks, require_project

CLASSES = ("copepod", "medusa", "detritus")
LEAST_SHARE, MOST_AGAIN = 0.85, 0.1


def make_images(folder: Path, number: int) -> None:
    """Writes PNG files of 8 x 8 pixels that all differ."""
    folder.mkdir()
    for index in range(number):
        pixels = np.full((8, 8), 90, np.uint8)
        pixels.reshape(-1)[:8] = np.frombuffer(index.to_bytes(8), np.uint8)
        (folder / f"{index:06d}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def chunks(items: Iterable[Any], size: int = 1000) -> Iterator[list[Any]]:
    """The items in lists of ``size``."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def make_survey(folder: Path, images: Path) -> None:
    """Predictions of all images: copepod, with any probability above 0.5."""
    chance = random.Random(0)
    with Survey.open_for_writing(folder, model_sha256="ab" * 32, classes=CLASSES, settings={}) as survey:
        for files in chunks(sorted(images.iterdir())):
            survey.add([_prediction(file, 0.5 + chance.random() / 2) for file in files])


def _prediction(file: Path, best: float) -> Prediction:
    rest = (1 - best) / 2
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return Prediction(file.name, str(file), sha256, probabilities=np.array([best, rest, rest], np.float32))


def raw_tasks(images: Path) -> Iterator[dict[str, Any]]:
    """Tasks with the data and the prediction that push gives to them."""
    for file in sorted(images.iterdir()):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        stored = f"project-1/{sha256[:2]}/{sha256}.png"
        data = {"image": f"/data/local-files/?d={stored}", "sha256": sha256, "file": stored, "path": file.name}
        data |= {"source": "images", "image_caption": "8 x 8 px · model: copepod 0.75"}
        prediction = {"result": class_result("copepod"), "score": 0.75, "model_version": "survey"}
        yield {"data": data, "predictions": [prediction]}


def time_raw(connection: Connection, images: Path, taxonomy: Taxonomy) -> float:
    """Seconds of the raw imports; making the tasks and the project is not counted."""
    project = connection.client.projects.create(title="raw", label_config=build_interface(taxonomy))
    address = f"/api/projects/{project.id}/import"
    seconds = 0.0
    for tasks in chunks(raw_tasks(images)):
        start = time.monotonic()
        connection.send("POST", address, tasks, what="importing")
        seconds += time.monotonic() - start
    return seconds


def command(*words: object) -> list[str]:
    """The command line of `pelagia label`."""
    return [sys.executable, "-m", "pelagia.cli", "label", *map(str, words)]


def measured(words: list[str]) -> dict[str, float]:
    """Runs a command; its seconds, and its peak memory in MB in the first third of them and over all."""
    start = time.monotonic()
    child = subprocess.Popen(words, cwd=REPOSITORY)
    peak = Peak(child.pid)
    over_time: list[int] = []
    while child.poll() is None:
        over_time.append(peak.bytes)
        time.sleep(0.2)
    if child.returncode:
        sys.exit(f"{' '.join(words)} ended with {child.returncode}")
    early = over_time[len(over_time) // 3] / 1e6
    return {"seconds": round(time.monotonic() - start, 1), "early_mb": round(early), "peak_mb": round(peak.bytes / 1e6)}


def kill_often(words: list[str], home: Path, title: str, tasks: int, victims: list[str]) -> Counter[str]:
    """Runs a push again and again; kills it or the server after it has added tasks. How often each was killed.

    A kill needs 1,000 to 2,000 tasks that are still missing: a push that has ended by itself is not counted.
    """
    chance = random.Random(1)
    killed: Counter[str] = Counter()
    connection = connect()
    for number, victim in enumerate(victims):
        enough = max(tasks * (number + chance.random()) / (len(victims) + 1), size_of(connection, title) + 1)
        child = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and size_of(connection, title) < enough:
            time.sleep(0.1)
        time.sleep(chance.random())  # into an import
        running = child.poll() is None
        killed[victim] += running
        print(
            f"{victim} at {size_of(connection, title)} tasks: {'killed' if running else 'push had ended'}", flush=True
        )
        if victim == "client":
            child.kill()
        else:
            kill_server(home)
            child.wait()
            start_studio(home)
            connection = connect()
        child.wait()
    return killed


def kill_server(home: Path) -> None:
    """Kills the server of ``home`` and its processes (SIGKILL)."""
    studio = read_studio(home)
    assert studio is not None
    os.killpg(os.getpgid(studio.pid), signal.SIGKILL)
    while studio.running:
        time.sleep(0.05)


def size_of(connection: Connection, title: str) -> int:
    """Number of tasks of a project; 0 if it is not there yet."""
    found = find_project(connection, title)
    return found.tasks if found else 0


def counts(connection: Connection, title: str) -> dict[str, int]:
    """Tasks of a project, different images among them, and predictions."""
    tasks = [
        (task.sha256, len(task.predictions))
        for task in list_tasks(connection, require_project(connection, title), parts=PREDICTIONS)
    ]
    return {"tasks": len(tasks), "images": len(Counter(dict(tasks))), "predictions": sum(n for _, n in tasks)}


def accept_all(connection: Connection, title: str) -> float:
    """Accepts all predictions as in the table of tasks; seconds."""
    start = time.monotonic()
    connection.client.actions.create(
        id="predictions_to_annotations",
        project=require_project(connection, title).id,
        selected_items={"all": True, "excluded": []},
        request_options=WRITE_OPTIONS,
    )
    return round(time.monotonic() - start, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--client-kills", type=int, default=10)
    parser.add_argument("--server-kills", type=int, default=3)
    parser.add_argument("--only-push", action="store_true", help="end after the second push")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pelagia-scale-") as scratch:
        folder = Path(scratch)
        os.environ[HOME_VARIABLE] = str(folder / "studio")
        make_images(folder / "images", chosen.tasks)
        make_survey(folder / "survey", folder / "images")
        with socket.socket() as listener:  # a port where nobody listens
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        start_studio(folder / "studio", port=port)
        try:
            found = push_twice(folder, chosen.tasks)
            if not chosen.only_push:
                found |= kill_and_pull(folder, chosen.tasks, chosen.client_kills, chosen.server_kills)
        finally:
            stop_studio(folder / "studio")
        missed = [name for name, met in found.items() if met is False]
        print(json.dumps(found | {"missed": missed}, indent=1), flush=True)  # removing the files takes minutes
    sys.exit(bool(missed))


def push_words(folder: Path) -> list[Any]:
    """The words of the push, without its project."""
    return ["push", folder / "images", "--taxonomy", folder / "taxonomy.yaml", "--predictions", folder / "survey"]


def push_twice(folder: Path, tasks: int) -> dict[str, Any]:
    """The raw API, a push, and the same push again. A value is false if a target was missed."""
    taxonomy = taxonomy_of_names("scale", CLASSES)
    (folder / "taxonomy.yaml").write_text(dump_yaml(taxonomy), encoding="utf-8")
    raw = time_raw(connect(), folder / "images", taxonomy)
    words = command(*push_words(folder), "--project", "pushed")
    pushed, again = measured(words), measured(words)
    share, again_share = raw / pushed["seconds"], again["seconds"] / pushed["seconds"]
    return {
        "tasks": tasks,
        "raw_seconds": round(raw, 1),
        "push": pushed,
        "share_of_the_limit": round(share, 3),
        "share_is_enough": share >= LEAST_SHARE,
        "push_again": again,
        "push_again_share": round(again_share, 3),
        "push_again_is_fast": again_share < MOST_AGAIN,
        "exact_after_push": counts(connect(), "pushed") == exactly(tasks),
    }


def exactly(tasks: int) -> dict[str, int]:
    """What `counts` must give."""
    return {"tasks": tasks, "images": tasks, "predictions": tasks}


def kill_and_pull(folder: Path, tasks: int, clients: int, servers: int) -> dict[str, Any]:
    """Pushes that are killed, and a pull of all tasks. A value is false if a target was missed."""
    victims = ["client"] * clients + ["server"] * servers
    random.Random(0).shuffle(victims)
    words = command(*push_words(folder), "--project", "killed")
    killed = kill_often(words, folder / "studio", "killed", tasks, victims)
    last = measured(words)
    after_kills = counts(connect(), "killed")
    accepting = accept_all(connect(), "pushed")
    pulled = measured(command("pull", "--project", "pushed", "--out", folder / "dataset", "--no-near-duplicates"))
    return {
        "killed": dict(killed),
        "last_push": last,
        "after_kills": after_kills,
        "exact_after_kills": after_kills == exactly(tasks),
        "accept_all_seconds": accepting,
        "pull": pulled,
    }


if __name__ == "__main__":
    main()
