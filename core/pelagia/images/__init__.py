"""Images as numbers: decoded, fitted to the network's input, and their pixel size."""
