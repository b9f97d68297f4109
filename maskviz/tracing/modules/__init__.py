"""Attention heard in modules that are no models of transformers: torch's own, written by hand, Keras', other libraries'."""
