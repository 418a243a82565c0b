"""Exports a run as one ONNX file that has passed the parity gate."""
