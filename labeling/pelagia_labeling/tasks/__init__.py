"""Sends images to Label Studio as tasks, and reads the labels back as a dataset."""
