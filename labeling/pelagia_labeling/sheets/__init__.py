"""Sheets of crops in Label Studio, and tabs of the crops of one predicted class."""
