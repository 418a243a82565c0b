"""From a dataset to batches: decoded crops, augmentation, mixing, sampling, splits."""
