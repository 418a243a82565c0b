"""Writers of images that do not share their code with the decoder."""
