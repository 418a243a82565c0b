"""The processes that decode and classify images, and the messages between them and the run."""
