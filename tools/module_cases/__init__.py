"""Modules that attend, each with its own way to say where it looks."""
