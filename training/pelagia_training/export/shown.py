"""What `pelagia train` and `export` print of an exported model."""

from __future__ import annotations

from pelagia.model.held_out import images_are_called, out_of_fold_of
from pelagia.model.metadata import ModelFile
from pelagia.system import console
from pelagia_inference.counts.correction import summary
from pelagia_training.evaluation.assess import no_temperatures


def show_gate(model: ModelFile) -> None:
    """Prints the result of the parity gate."""
    parity = model.metadata.parity
    images = "training" if out_of_fold_of(model.metadata.dataset) else "validation"
    console.say(
        f"parity gate passed: {parity.images} {images} images at batch {' and '.join(map(str, parity.batch_sizes))}, "
        f"same top-1 on all, largest probability difference {parity.max_probability_difference:.2g}"
    )


def show_figures(model: ModelFile) -> None:
    """Prints a model's calibration error, how counts are corrected, and what a run on all images was measured on."""
    data = model.metadata
    images = images_are_called(data.dataset)
    if measured := out_of_fold_of(data.dataset):
        macro_f1, accuracy = (data.metrics[f"out_of_fold_{name}"] for name in ("macro_f1", "accuracy"))
        console.say(f"macro-F1 {macro_f1:.4f}, accuracy {accuracy:.4f}, measured on {measured.text}")
    fit = data.calibration
    if fit is not None and set(fit.temperatures) == {1.0}:
        console.say(f"calibration error {fit.error:.4f} {no_temperatures(images)}")
    elif fit is not None:
        console.say(
            f"calibration error {fit.error_before:.4f} before the temperatures, {fit.error:.4f} with them, on "
            f"{'out-of-fold' if measured else 'held-out validation'} images"
        )
    if model.counting is not None:
        console.say(summary(model.counting))


def show_members(model: ModelFile) -> None:
    """Prints how good each member of an ensemble is alone, and what their mean gives; of other models, nothing."""
    found = model.ensemble
    if found is None:
        return
    data, images = model.metadata, images_are_called(model.metadata.dataset)
    console.say(f"{len(found.members)} runs in one model, on {found.images} {images} images that none was trained on:")
    measured_on = "out_of_fold" if out_of_fold_of(data.dataset) else "val"
    macro_f1, accuracy = (data.metrics[f"{measured_on}_{name}"] for name in ("macro_f1", "accuracy"))
    rows = [[one.run, one.backbone, one.likelihood, one.macro_f1, one.accuracy] for one in found.members]
    for mean, value in found.likelihood.items():
        exported = mean == found.mean
        figures = [macro_f1, accuracy] if exported else ["", ""]
        rows.append([f"mean of {mean}", "exported" if exported else "not exported", value, *figures])
    columns = ("run", "network", "log-loss", "macro-F1", "accuracy")
    console.table(columns, [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows])
    best = max(found.members, key=lambda one: one.macro_f1)
    if best.macro_f1 >= macro_f1:
        console.note(
            f"warning: {best.run} alone has a macro-F1 of {best.macro_f1:.4f} on these images, the ensemble "
            f"{macro_f1:.4f}: the run alone is faster and may be as good"
        )
