"""The run folder: state, logs, weights, and how to load them."""
