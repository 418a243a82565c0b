"""Several runs compared: folds, leaks, suspects, sweeps."""
