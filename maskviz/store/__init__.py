"""A Trace to and from .npz and .json, and files written whole or not at all."""
