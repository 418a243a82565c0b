"""Turns a dataset into batches: decoded crops, augmentation, mixing, sampling, splits."""
