"""A batch, a mask or a model becomes a case for the rules."""
