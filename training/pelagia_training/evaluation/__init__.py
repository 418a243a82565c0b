"""Measures a model on a split and writes the report."""
