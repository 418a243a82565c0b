"""Drawn images of organisms, to try things on."""
