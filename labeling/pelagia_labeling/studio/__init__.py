"""A Label Studio server: how to start it and how to connect to it."""
