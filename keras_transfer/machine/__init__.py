"""The machine and how TensorFlow uses it: memory, kernels, data streams."""
