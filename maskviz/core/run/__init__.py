"""One forward pass as a value."""
