"""What-if on heads: one pass of a model after the other, with heads silenced."""
