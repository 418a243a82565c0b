"""Pull: what people said of images becomes the labels of a dataset."""
