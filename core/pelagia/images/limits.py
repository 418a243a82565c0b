"""Limits for untrusted images."""

MAX_PIXELS = 1 << 28
"""Largest number of pixels that is decoded (16,384 x 16,384)."""
