"""A survey's results in other formats."""
