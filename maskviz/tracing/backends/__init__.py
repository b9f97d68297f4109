"""What another attention implementation would be handed."""
