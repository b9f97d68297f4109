"""Pages in the terminal."""
