"""Taxonomies and the World Register of Marine Species (WoRMS): checking names and AphiaIDs, and making a taxonomy."""
