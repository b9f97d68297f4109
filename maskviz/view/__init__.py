"""Traces and results in, pages out."""
