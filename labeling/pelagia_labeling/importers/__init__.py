"""Makes datasets from existing labels: class folders, a CSV manifest, an EcoTaxa export, or a review."""
