"""The desk: web pages on this computer for people who label, beside Label Studio, which keeps every label."""
