"""The rules masks are made of, how they combine, are said, and are told from cells."""
