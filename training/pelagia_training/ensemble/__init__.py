"""Several runs as one model: which runs fit together, what their mean is worth, and the export."""
