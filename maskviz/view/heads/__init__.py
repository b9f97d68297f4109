"""Pages about heads."""
