"""Pages about long texts."""
