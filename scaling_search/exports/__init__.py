"""Files to take away from a search: weights, programs of PyTorch, ONNX, a model card."""
