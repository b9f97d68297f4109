"""Runs as they are asked for."""
