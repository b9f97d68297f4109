"""What a check looks at and what it finds."""
