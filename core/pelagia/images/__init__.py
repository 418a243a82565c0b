"""Decoding images, fitting them to the network's input, and their pixel size."""
