"""The interactive view in the terminal."""
