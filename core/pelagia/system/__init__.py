"""Files, locks, folders, processors and the terminal."""
