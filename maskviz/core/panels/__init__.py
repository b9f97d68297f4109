"""What renderers draw."""
