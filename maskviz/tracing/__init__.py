"""torch: one forward pass becomes a Trace."""
