"""Simulated predictions."""
