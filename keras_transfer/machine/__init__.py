"""What the machine has and how TensorFlow uses it: memory, kernels, data streams."""
