"""Limits for images from strangers."""

MAX_PIXELS = 1 << 28
"""The largest image that is decoded: 16,384 x 16,384."""
