"""Datasets from labels that exist already."""
