"""Datasets from labels that were made before: class folders, a CSV manifest, an EcoTaxa export, a review."""
