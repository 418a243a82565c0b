"""The dataset, a folder of checked, labeled images: its definition, and functions to write, split and check it."""
