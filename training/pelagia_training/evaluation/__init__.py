"""Measuring a model on a split, and the report."""
