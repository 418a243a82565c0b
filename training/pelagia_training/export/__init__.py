"""From a run to one ONNX file, through the parity gate."""
