"""The network: backbone, losses, optimizer, and the out-of-distribution score."""
