"""The dataset: a folder of checked, labelled images. Its form, how it is written, split and checked."""
