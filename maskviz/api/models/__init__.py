"""What a config alone says of a model."""
