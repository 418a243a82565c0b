"""A Label Studio server: started here, or reached over its API."""
