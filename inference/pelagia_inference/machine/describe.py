"""What a model file says about itself, as lines of text for a person."""

from __future__ import annotations

from pelagia.model.metadata import ModelFile, ModelMetadata


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
        ("network", data.training["model"]["backbone"]),
        ("input", f"uint8 N x {pixels.size} x {pixels.size} x 3, {pixels.colour}, {pixels.fit}"),
        ("dataset", f"{data.dataset['name']}, fingerprint {data.dataset['fingerprint'][:12]}"),
        ("parity gate", f"{parity.images} images, largest difference {parity.max_probability_difference:.2g}"),
        *((name, f"{value:.4f}") for name, value in data.metrics.items()),
        *_limits(data),
        *_quantization(data),
    ]


def class_rows(metadata: ModelMetadata) -> list[tuple[str, int, str]]:
    """For each class: its name, the number of its training images, and its taxa from the highest to the lowest."""
    counts = metadata.dataset["counts"]
    lineages = {name: " > ".join(taxon.name for taxon in metadata.taxonomy.lineage(name)) for name in metadata.classes}
    return [(name, counts[name]["train"], lineage or "-") for name, lineage in lineages.items()]


def _limits(data: ModelMetadata) -> list[tuple[str, str]]:
    """What is known about when the model is wrong, measured on validation images."""
    rows = []
    if (fit := data.calibration) is not None:
        errors = (
            f"{fit.error_before:.4f} before, {fit.error:.4f} after; by chance it would be {fit.error_by_chance:.4f}"
        )
        rows.append(("calibration error", f"{errors}; {fit.images} images"))
    if (reached := data.decision.by_roll_up) is not None and reached.precision is not None:
        shares = f"{reached.accepted:.1%} of images get a name, {reached.precision:.1%} of these names are right"
        rows.append(("decision", f"{shares}; thresholds for {data.decision.target_precision:.0%}"))
    if data.unknown is not None:
        share = f"{data.unknown.known_share:.0%} of images of known classes are below"
        rows.append(("unknown", f"an out-of-distribution score above {data.unknown.threshold:.3f}; {share}"))
    return rows


def _quantization(data: ModelMetadata) -> list[tuple[str, str]]:
    """How a smaller model compares with the float model that it was made from."""
    small = data.quantisation
    if small is None:
        return []
    agreement = f"same top-1 on {small.top1_agreement:.1%} of {small.images} images of {small.dataset}"
    return [
        (small.kind, f"{agreement}; macro-F1 there {small.macro_f1:.4f}, float {small.float_macro_f1:.4f}"),
        ("made from", f"the float model with sha256 {small.float_sha256}; the metrics above are those of that model"),
    ]
