"""A trained run in use, with PyTorch or with ONNX Runtime."""
