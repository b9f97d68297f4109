"""Pages about why."""
