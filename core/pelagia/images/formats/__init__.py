"""One module per image format: what OpenCV decodes right, and what is refused with its name."""
