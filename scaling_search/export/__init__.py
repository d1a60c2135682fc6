"""What a search leaves to take away: networks as plain PyTorch, weights, ONNX, a model card."""
