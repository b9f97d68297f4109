"""One mask in the conventions of the frameworks."""
