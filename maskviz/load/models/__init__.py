"""A name becomes a live model."""
