"""Drawn images of organisms, for first tests."""
