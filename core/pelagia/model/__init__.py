"""The model: one ONNX file, what it says of itself, and the rule that turns its numbers into a name."""
