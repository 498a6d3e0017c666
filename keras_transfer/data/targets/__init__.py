"""Labels as arrays that a network can learn: one file a kind of target."""
