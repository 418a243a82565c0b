"""The command table of `pelagia`.

Invariant: core imports no other part. Commands are listed here as strings ``module:function``, and the module of a
command is imported when the command is called. So `pelagia --help` prints at once, and a field laptop needs no torch.
`main` is the only function that turns an error into a message on the terminal and an exit code (see `pelagia.errors`).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from pelagia.errors import Interrupted, PelagiaError
from pelagia.system.files import is_full, printable, whole_name

COMMANDS = {
    "simulate": (
        "pelagia.synthetic.commands:simulate",
        "Draw a small survey of synthetic organisms for first tests.",
    ),
    "train": (
        "pelagia_training.train_command:train",
        "Train a network on a dataset. The same command resumes an interrupted run.",
    ),
    "retrain": (
        "pelagia_training.retrain_commands:retrain",
        "Train a new model on a new dataset, and keep it only if it is better than the model in use.",
    ),
    "sweep": (
        "pelagia_training.commands:sweep",
        "Search keys of a config for the best macro-F1 on the val split.",
    ),
    "frontier": (
        "pelagia_training.frontier_command:frontier",
        "Compare cost with accuracy: train several networks and sizes for the same time, and measure their speed.",
    ),
    "leak": (
        "pelagia_training.commands:leak",
        "Measure how optimistic a random split is.",
    ),
    "suspects": (
        "pelagia_training.commands:suspects",
        "List the labels that are most likely wrong, so that people can check them.",
    ),
    "export": (
        "pelagia_training.commands:export",
        "Export a run or several as one ONNX file, if it gives the same predictions as the trained network.",
    ),
    "evaluate": ("pelagia_training.measure_commands:evaluate", "Measure a model on a split of a dataset."),
    "quantize": (
        "pelagia_training.measure_commands:quantize",
        "Make a smaller model, and compare it with the original.",
    ),
    "classify": (
        "pelagia_inference.commands:classify",
        "Classify images into a survey folder. The same command resumes an interrupted run.",
    ),
    "decide": (
        "pelagia_inference.decisions.commands:decide",
        "Decide again what each image of a survey shows, with another rule and without the network.",
    ),
    "explain": (
        "pelagia_inference.decisions.commands:explain",
        "Print why a survey says what it says of one image.",
    ),
    "compare": (
        "pelagia_inference.decisions.commands:compare",
        "Compare two surveys of the same images.",
    ),
    "tracks": (
        "pelagia_inference.decisions.commands:tracks",
        "Answer once for each animal: combine the images of a track, an event or another sequence.",
    ),
    "embedder": (
        "pelagia_training.embedder_commands:embedder",
        "Make a file for `pelagia embed` from a network of timm, before there is a model of your own.",
    ),
    "embed": (
        "pelagia_inference.embed_commands:embed",
        "Compute the embeddings of images: numbers that are similar for similar images.",
    ),
    "check": (
        "pelagia_inference.checks.commands:check",
        "Check whether images and samples of a survey are fit for counting.",
    ),
    "report": (
        "pelagia_inference.report.commands:report",
        "Write a survey as one HTML page: counts, map, depths, sizes, scores, images, failures.",
    ),
    "bench": ("pelagia_inference.commands:bench", "Measure how fast this machine runs a model."),
    "counts": (
        "pelagia_inference.counts_commands:counts",
        "Count organisms by sample, class and taxon, with intervals, per liter where the volume is known.",
    ),
    "doctor": ("pelagia_inference.commands:doctor", "Check that this machine is ready for the field."),
    "dataset": {
        "": "Make and inspect datasets: folders of checked, labeled images.",
        "import": (
            "pelagia_labeling.dataset_commands:dataset_import",
            "Make a dataset: check every image, find duplicates, split by group.",
        ),
        "correct": (
            "pelagia_labeling.dataset_commands:dataset_correct",
            "Make a dataset with the labels of a review.",
        ),
        "diff": ("pelagia_labeling.versions.commands:dataset_diff", "Print what differs between two datasets."),
        "merge": ("pelagia_labeling.versions.commands:dataset_merge", "Make one dataset of two."),
        "relabel": (
            "pelagia_labeling.versions.commands:dataset_relabel",
            "Make a dataset with other labels, from a table.",
        ),
        "rename-class": (
            "pelagia_labeling.versions.commands:dataset_rename_class",
            "Make a dataset with another name of a class.",
        ),
        "history": (
            "pelagia_labeling.versions.commands:dataset_history",
            "Print the labels of an image through all versions of a dataset.",
        ),
        "export": (
            "pelagia_labeling.versions.commands:dataset_export",
            "Write a dataset as class folders, or in the format of another program.",
        ),
        "cells": (
            "pelagia_labeling.dataset_commands:dataset_cells",
            "Make the table of cells of an image by class, from images that people counted.",
        ),
        "show": ("pelagia_labeling.dataset_commands:dataset_show", "Print a dataset's classes, splits and groups."),
        "check": (
            "pelagia_labeling.dataset_commands:dataset_check",
            "Check every file, hash, class and group of a dataset.",
        ),
    },
    "studio": {
        "": "Run your own Label Studio on this machine.",
        "start": (
            "pelagia_labeling.studio_commands:studio_start",
            "Start Label Studio in the background and print its address and login.",
        ),
        "stop": ("pelagia_labeling.studio_commands:studio_stop", "Stop the Label Studio that `studio start` started."),
        "status": (
            "pelagia_labeling.studio_commands:studio_status",
            "Print whether Label Studio runs, its projects, its size and its last backup.",
        ),
        "doctor": (
            "pelagia_labeling.studio_commands:studio_doctor",
            "Find what is wrong with a Label Studio and print how to fix it.",
        ),
        "backup": (
            "pelagia_labeling.studio_commands:studio_backup",
            "Write labels, accounts and images of the local Label Studio into one file.",
        ),
        "restore": ("pelagia_labeling.studio_commands:studio_restore", "Make the local Label Studio from a backup."),
    },
    "label": {
        "": "Send images to Label Studio, and download the labels as a dataset.",
        "push": ("pelagia_labeling.commands:label_push", "Add images to a Label Studio project."),
        "select": (
            "pelagia_labeling.selection.commands:label_select",
            "Choose the images whose labels are worth most.",
        ),
        "submit": ("pelagia_labeling.commands:label_submit", "Submit labels that were made elsewhere."),
        "sheets": (
            "pelagia_desk.commands:label_sheets",
            "Open the sheet page: label whole sheets of similar crops, and correct the odd ones.",
        ),
        "pull": ("pelagia_labeling.commands:label_pull", "Make a dataset of the submitted labels."),
        "agreement": (
            "pelagia_labeling.people.commands:label_agreement",
            "Measure how far people agree, with each other and with themselves.",
        ),
        "repeats": (
            "pelagia_labeling.people.commands:label_repeats",
            "Show some labeled images again, unnoticed.",
        ),
        "adjudicate": (
            "pelagia_labeling.people.commands:label_adjudicate",
            "Send the images that people disagree on to a project where one person decides.",
        ),
        "status": (
            "pelagia_labeling.progress.commands:label_status",
            "Count the labels of a project, and estimate what more labels would give.",
        ),
        "review": (
            "pelagia_labeling.progress.commands:label_review",
            "Send the images of a survey that the model did not accept to Label Studio.",
        ),
        "rename-class": (
            "pelagia_labeling.versions.commands:label_rename_class",
            "Rename a class of a Label Studio project, with all its labels.",
        ),
    },
    "model": {
        "": "Show a model, and check that it works on this machine.",
        "show": ("pelagia_inference.commands:model_show", "Print what is in a model file."),
        "verify": (
            "pelagia_inference.commands:model_verify",
            "Check that this machine gives the same predictions as the trained network.",
        ),
    },
    "taxonomy": {
        "": "Make and check a taxonomy: the classes of a model, and the taxa that they belong to.",
        "check": (
            "pelagia.worms.commands:taxonomy_check",
            "Check a taxonomy: its form, and with --worms its names and AphiaIDs.",
        ),
        "from": ("pelagia.worms.commands:taxonomy_from", "Make a taxonomy file from a table of classes."),
    },
    "survey": {
        "": "Use a survey: a folder of results that `pelagia classify` made.",
        "export": (
            "pelagia_inference.exports.commands:survey_export",
            "Write a survey's results again, or in another format.",
        ),
        "confirm": ("pelagia_inference.confirm_commands:confirm", "Add labels of people to a survey."),
    },
}
"""Command -> (``module:function``, one line of help). Group -> its commands; the empty name holds the group's help."""

ALIASES = {"sample": "simulate"}
"""Old names that still work but are not shown."""

_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
_STOPPED = tuple(128 + number for number in (signal.SIGINT, signal.SIGTERM))
_signals: list[int] = []
"""Signals that arrived. They are kept here because a library may replace the exception of a signal by its own error."""


def _command(name: str, target: str) -> Any:
    """The function that ``target`` names, as a command."""
    module, _, function = target.partition(":")
    alone = typer.Typer(**_SETTINGS)
    alone.command(name)(getattr(import_module(module), function))
    return typer.main.get_command(alone)


def _lazy_group(table: dict[str, Any], aliases: dict[str, str]) -> type[TyperGroup]:
    """A group of commands whose modules are imported when they are called."""

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [name for name in table if name]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            entry = table.get(aliases.get(cmd_name, cmd_name)) if cmd_name else None
            if entry is None:
                return None
            if isinstance(entry, dict):
                return typer.main.get_command(_group(cmd_name, entry))
            return _command(cmd_name, entry[0])

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            rows = [(name, entry[""] if isinstance(entry, dict) else entry[1]) for name, entry in table.items() if name]
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    return LazyGroup


def _group(name: str, table: dict[str, Any], aliases: dict[str, str] | None = None) -> typer.Typer:
    group = typer.Typer(name=name, cls=_lazy_group(table, aliases or {}), help=table[""], **_SETTINGS)
    group.callback()(_root if name == "pelagia" else _no_options)
    return group


def _version(wanted: bool) -> None:
    if wanted:
        from pelagia.system.version import __version__

        typer.echo(f"pelagia {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _no_options() -> None:
    pass


app = _group(
    "pelagia",
    {"": "From labeled plankton and fish images to counts: label, train, export, classify.", **COMMANDS},
    ALIASES,
)
"""The command line with all its commands."""


def main() -> None:
    """Entry point of `pelagia`."""
    _signals.clear()
    signal.signal(signal.SIGTERM, _end)
    # another handler means that the shell started this process with Ctrl-C ignored
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    try:
        app()
    except SystemExit as end:
        if end.code in _STOPPED:
            typer.echo("stopped", err=True)
        raise
    except Interrupted as error:
        typer.echo("stopped", err=True)
        raise SystemExit(error.exit_code) from None
    except PelagiaError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        sys.unraisablehook = lambda _: None  # a writer of zips that is closed late fails again, with a traceback
        _fail(_disk_fault(error), 1)
    except Exception:
        if not _signals:
            raise
        typer.echo("stopped", err=True)
        raise SystemExit(128 + _signals[0]) from None


def _disk_fault(error: OSError) -> str:
    what = f" {whole_name(str(error.filename))}" if error.filename else ""
    if is_full(error):  # when a file was copied, the error names the source, whose disk is not full
        return "the disk is full: free some space and run the same command again; no half-written file was left"
    remedies = {
        errno.EACCES: "choose a folder that you may write to, or change its permissions",
        errno.EPERM: "choose a folder that you may write to, or change its permissions",
        errno.EROFS: "the disk is read-only: choose another folder",
    }
    remedy = remedies.get(error.errno or 0, "check the path and the disk")
    return f"cannot use{what}: {error.strerror or error}: {remedy}"


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {printable(message, lines=True)}", err=True)
    raise SystemExit(code)


def _end(number: int, frame: object) -> NoReturn:
    _signals.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


if __name__ == "__main__":
    main()
