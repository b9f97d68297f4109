"""Pages as figures."""
