"""What to label next: `pelagia label select`."""
