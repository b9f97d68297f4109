"""What was heard becomes calls with their masks."""
