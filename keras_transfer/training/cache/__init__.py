"""Keeping the outputs of frozen layers, and deciding when that is safe."""
