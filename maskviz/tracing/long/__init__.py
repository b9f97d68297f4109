"""Long texts, without the square."""
