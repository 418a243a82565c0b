"""The last step of `pelagia train`: exports the model and writes the report on the validation split.

Invariant: the run is complete before this step, and an error in this step does not change the run; `pelagia export` and
`pelagia evaluate` can make both files again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pelagia.errors import PelagiaError
from pelagia.model.metadata import ModelFile
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.evaluation.report import REPORT_FILE, write_report
from pelagia_training.export.export import export_run
from pelagia_training.export.final_report import report_final
from pelagia_training.network.outputs import Progress, no_progress
from pelagia_training.runs.folder import MODEL_FILE, RunState, read_run
from pelagia_training.runs.load import dataset_of
from pelagia_training.runs.logs import read_curves


def deliver(
    run: Path, report: Callable[[str], None] = lambda text: None, progress: Progress = no_progress
) -> ModelFile:
    """Exports a run's best weights into the run folder, and writes the report of the exported model.

    The report of a run on all images is that of the out-of-fold predictions.

    Args:
        run: the run folder; an older model in it is replaced.
        report: called with a line of text for people.
        progress: called with (images done, total images) while images go through the network.

    Raises:
        PelagiaError: the export failed; the report is then made from the PyTorch network, if it has a val split.
    """
    config, state = read_run(run)
    (run / MODEL_FILE).unlink(missing_ok=True)
    try:
        exported = export_run(run, run / MODEL_FILE, report=report, progress=progress)
    except PelagiaError:
        if not state.final:
            report_without_model(run)
        raise
    model, dataset = exported.model, dataset_of(state.dataset, config, state)
    if state.final:
        report_final(run, exported, dataset, state.final)
        return model
    write_report(run / REPORT_FILE, evaluate(model, dataset, "val", progress), dataset, _curves(run, state))
    return model


def report_without_model(run: Path) -> None:
    """Writes the report of the PyTorch network; it has no thresholds and no out-of-distribution score."""
    config, state = read_run(run)
    dataset = dataset_of(state.dataset, config, state)
    write_report(run / REPORT_FILE, evaluate_run(run, "val"), dataset, _curves(run, state))


def _curves(run: Path, state: RunState) -> dict[str, list[float]] | None:
    """The learning curves of a run; None if only its last layer was fitted, which has none."""
    return None if state.head else read_curves(run)
