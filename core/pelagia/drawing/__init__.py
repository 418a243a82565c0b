"""The synthetic organisms of `pelagia.sample`."""
