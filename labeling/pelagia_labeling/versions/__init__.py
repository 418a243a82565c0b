"""Versions of a dataset: parents, differences, merging, other labels and other names of classes, and the history."""
