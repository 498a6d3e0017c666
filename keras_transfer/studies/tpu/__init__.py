"""Whether a model trains on a TPU, told on a machine without one."""
