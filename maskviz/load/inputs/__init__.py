"""What somebody made themselves: rows, arguments of a forward, masks."""
