"""Describes a model file in lines of text."""

from __future__ import annotations

from pelagia.model.held_out import out_of_fold_of
from pelagia.model.metadata import ModelFile, ModelMetadata
from pelagia_inference.counts.correction import summary


def model_facts(file: ModelFile) -> list[tuple[str, str]]:
    """Name and value of each fact: the file, the network, its data, its metrics and its limits."""
    data = file.metadata
    pixels = data.preprocess
    parity = data.parity
    return [
        ("name", data.name),
        ("file", f"{len(file.data) / 1e6:.1f} MB, sha256 {file.sha256}"),
        ("made", f"{data.created} by pelagia {data.pelagia_version}"),
        ("licence", data.licence or "not stated"),
        *_network(file),
        ("input", f"uint8 N x {pixels.size} x {pixels.size} x 3, {pixels.colour}, {pixels.fit}"),
        ("dataset", f"{data.dataset['name']}, fingerprint {data.dataset['fingerprint'][:12]}"),
        ("parity gate", f"{parity.images} images, largest difference {parity.max_probability_difference:.2g}"),
        *_embedding(file),
        *((name, f"{value:.4f}") for name, value in data.metrics.items()),
        *_measured_on(data),
        *_limits(data),
        *_counting(file),
        *_quantization(data),
    ]


def _network(file: ModelFile) -> list[tuple[str, str]]:
    """The network or, of an ensemble, the networks: of which runs they are, and what is averaged."""
    found = file.ensemble
    if found is None:
        return [("network", file.metadata.training["model"]["backbone"])]
    others = [f"{value:.4f} of {mean}" for mean, value in found.likelihood.items() if mean != found.mean]
    chosen = f"negative log-likelihood {found.likelihood[found.mean]:.4f}, against {', '.join(others)}"
    rows = [("network", f"the mean of {found.mean} of {len(found.members)} networks ({chosen})")]
    for number, one in enumerate(found.members, 1):
        views = f", {one.orientations} orientations" if one.orientations > 1 else ""
        alone = f"alone: macro-F1 {one.macro_f1:.4f}, negative log-likelihood {one.likelihood:.4f}"
        rows.append((f"member {number}", f"{one.backbone}{views}, run {one.run}, epoch {one.epoch}; {alone}"))
    return rows


def _measured_on(data: ModelMetadata) -> list[tuple[str, str]]:
    """Of a model that was trained on all images: what its metrics and limits were measured on."""
    found = out_of_fold_of(data.dataset)
    return [("measured on", found.text)] if found else []


def _embedding(file: ModelFile) -> list[tuple[str, str]]:
    found = file.embedding
    if found is None:
        return []
    views = f", the mean over {found.orientations} orientations" if found.orientations > 1 else ""
    return [("embedding", f"{found.dimensions} numbers{views}")]


def class_rows(metadata: ModelMetadata) -> list[tuple[str, int, str]]:
    """For each class: its name, the number of its training images, and its taxa from the highest to the lowest."""
    counts = metadata.dataset["counts"]
    lineages = {name: " > ".join(taxon.name for taxon in metadata.taxonomy.lineage(name)) for name in metadata.classes}
    return [(name, counts[name]["train"], lineage or "-") for name, lineage in lineages.items()]


def _limits(data: ModelMetadata) -> list[tuple[str, str]]:
    """Calibration, decision rule and out-of-distribution threshold, on the validation split or out of fold."""
    rows = []
    if (fit := data.calibration) is not None:
        errors = f"{fit.error_before:.4f} before, {fit.error:.4f} after, on {fit.images} images"
        if set(fit.temperatures) == {1.0}:
            errors = f"{fit.error:.4f} on {fit.images} images, without temperatures, because they did not help"
        rows.append(("calibration error", f"{errors}; {fit.error_by_chance:.4f} is expected by chance"))
    if (reached := data.decision.by_roll_up) is not None and reached.precision is not None:
        shares = f"{reached.accepted:.1%} of images accepted, precision {reached.precision:.1%}"
        rows.append(
            ("decision", f"{shares}; thresholds for a target precision of {data.decision.target_precision:.0%}")
        )
    if data.unknown is not None:
        share = f"{data.unknown.known_share:.0%} of images of known classes have a lower score"
        measured = out_of_fold_of(data.dataset)
        if measured and measured.known_accepted is not None:
            share = (
                f"chosen so that {data.unknown.known_share:.0%} of images of known classes have a lower score; in the "
                f"folds, a threshold that was chosen without the fold accepted {measured.known_accepted:.1%}"
            )
        rows.append(
            ("unknown", f"images with an out-of-distribution score above {data.unknown.threshold:.3f}; {share}")
        )
    return rows


def _counting(file: ModelFile) -> list[tuple[str, str]]:
    """How counts are corrected, how far that helped in simulated surveys, and when a survey is warned of."""
    counting = file.counting
    if counting is None:
        return [
            ("counts", "not corrected: the model has no statistics for it; `pelagia export` of this version adds them")
        ]
    rows = [("counts", summary(counting))]
    if (drift := counting.drift) is not None:
        warned = f"{drift.false_warnings:.0%} of {drift.groups} groups that were left out would be warned of"
        rows.append(("drift limit", f"{drift.limit:.3f}; a sample with a larger distance is warned of; {warned}"))
    if counting.unknown_limit is not None:
        rows.append(
            ("unknown share", f"a sample with more than {counting.unknown_limit:.1%} unknown images is warned of")
        )
    return rows


def _quantization(data: ModelMetadata) -> list[tuple[str, str]]:
    """How a smaller model compares with the float model that it was made from."""
    small = data.quantisation
    if small is None:
        return []
    agreement = f"same top-1 on {small.top1_agreement:.1%} of {small.images} images of {small.dataset}"
    return [
        (small.kind, f"{agreement}; macro-F1 {small.macro_f1:.4f}, of the float model {small.float_macro_f1:.4f}"),
        (
            "made from",
            f"the float model with sha256 {small.float_sha256}; the metrics above were measured with that model",
        ),
    ]
