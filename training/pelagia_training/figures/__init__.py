"""Metrics, their intervals, calibration and thresholds."""
