"""Texts become a batch."""
