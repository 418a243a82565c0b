"""One training: what it begins with, its step, validation, checkpoints."""
