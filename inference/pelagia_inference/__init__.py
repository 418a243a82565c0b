"""MODEL + images -> PREDICTIONS, with numpy, OpenCV and ONNX Runtime alone. Never imports torch."""
