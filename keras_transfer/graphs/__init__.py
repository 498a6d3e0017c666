"""Functions on layers and on the graph of a functional model."""
