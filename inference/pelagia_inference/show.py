"""What the commands of this part print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.sources.listing import ListingOptions
    from pelagia_inference.machine.bench import Bench
    from pelagia_inference.survey.progress import SurveyProgress
    from pelagia_inference.survey.runner import SurveyResult

_JSON_SECONDS = 1.0


@contextmanager
def progress_of_run(
    inputs: Sequence[Path], quiet: bool, as_json: bool, listing: ListingOptions
) -> Iterator[Callable[[SurveyProgress], None]]:
    """Yields a function that shows progress: a bar on a terminal, a JSON line each second, or nothing."""
    if quiet or not (as_json or console.on_terminal()):
        yield lambda at: None
    elif as_json:
        yield _json_lines()
    else:
        from pelagia_inference.survey.counting import count_in_background

        with console.progress_bar("classifying") as update, count_in_background(inputs, listing) as total:
            yield lambda at: update(
                at.done + at.before, total(), f"{at.rate:.0f} images/s, {at.failed} failed, {at.current}"
            )


def _json_lines() -> Callable[[SurveyProgress], None]:
    last = time.monotonic()

    def show(at: SurveyProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= _JSON_SECONDS:
            last = time.monotonic()
            console.say(json.dumps({"event": "progress", **_as_json(at)}))

    return show


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """If the run is interrupted, prints the command that resumes it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        console.note(f"interrupted; the results so far are stored. Resume with: {command}")
        raise


def warning(text: str) -> None:
    """Prints a warning."""
    console.note(f"warning: {text}")


def result(done: SurveyResult, resume_command: str, quiet: bool, as_json: bool) -> None:
    """Prints the summary of a run: tables for people, one JSON line for programs, or nothing; and any warnings."""
    if as_json:
        files = {name: str(path) for name, path in done.files.items()}
        decisions = {"decisions": done.decisions} if done.verdicts else {}
        line = {"event": "finished", **_as_json(done.progress), "provider": done.provider, **files, **decisions}
        console.say(json.dumps(line))
    elif not quiet:
        _show_counts(done)
        _show_run(done)
    for text in done.warnings:
        warning(text)
    if not done.counts:
        warning("no image could be classified: check that the drive with the images is connected")
    if done.failures:
        console.note(f"try the failed images again with: {resume_command} --retry-failed")


def _show_counts(result: SurveyResult) -> None:
    """The images by most likely class; for a model that decides, also the accepted images and the other decisions."""
    if not result.verdicts:
        console.counts_table(result.counts, ("class", "images"))
        return
    rows = [(name, count, result.accepted[name]) for name, count in result.counts.most_common()]
    console.table(("most likely class", "images", "accepted"), rows)
    if result.rolled_up:
        console.table(("rolled up to", "rank", "images"), result.rolled_up)
    total = sum(result.decisions.values())
    shares = (f"{name.replace('_', ' ')} {count} ({count / total:.1%})" for name, count in result.decisions.items())
    console.say(", ".join(shares))


def _show_run(result: SurveyResult) -> None:
    from pelagia.sources import left_out_lines

    at = result.progress
    rate = f", {at.rate:.0f} images/s" if at.done else ""
    before = f", {at.before} were done before" if at.before else ""
    console.say(f"{at.done} images in {at.seconds:.1f} s{rate} ({result.setting}) on {result.provider}{before}")
    for reason, count in result.failures.items():
        console.say(f"failed, {reason}: {count}")
    for line in left_out_lines(result.left_out):
        console.say(line)
    console.say(f"results: {', '.join(map(str, result.files.values()))}")


def _as_json(at: SurveyProgress) -> dict[str, float | int | str]:
    counts = {"done": at.done, "failed": at.failed, "before": at.before}
    return {**counts, "seconds": round(at.seconds, 2), "rate": round(at.rate, 1), "current": at.current}


def bench(measured: Bench) -> None:
    """Prints the rates that `bench` measured."""
    from pelagia.system.cores import usable_cores

    console.table(
        ("sessions", "threads", "batch", "only the network, images/s"),
        [
            (setting.workers, setting.threads, setting.batch, f"{rate:.0f}")
            for setting, rate in measured.network.items()
        ],
    )
    console.say(f"only decoding             {measured.decode:8.0f} images/s on {usable_cores()} cores")
    console.say(f"only the network, fastest {measured.network[measured.best]:8.0f} images/s, {measured.best}")
    console.say(f"ideal of both             {measured.ideal:8.0f} images/s")
    console.say(f"classify, start to CSV    {measured.end_to_end:8.0f} images/s over {measured.images} images")
    console.say(f"efficiency                {measured.efficiency:8.3f} (classify / ideal)")
