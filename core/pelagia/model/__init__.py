"""The model: one ONNX file, its metadata, and the rule that turns its probabilities into a name."""
