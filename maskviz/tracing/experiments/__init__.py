"""Runs that show what one change does."""
