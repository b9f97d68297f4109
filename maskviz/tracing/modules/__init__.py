"""Attention heard in modules that are no models of transformers: torch's own, by hand, Keras', other libraries'."""
