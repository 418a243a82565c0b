"""Verdicts that explain themselves: other rules for the same probabilities, one image, two surveys, tracks."""
