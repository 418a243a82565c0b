"""Images to Label Studio as tasks, and labels back as a dataset."""
