"""A training run: preparation, steps, validation and checkpoints."""
