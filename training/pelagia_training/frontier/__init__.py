"""Cost against accuracy: several networks and input sizes, trained for the same time, measured, and compared."""
