"""A head on frozen features: the last layer of a network is fitted, and its other weights stay as they are."""
