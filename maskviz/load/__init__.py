"""transformers: names become live objects, and texts become batches."""
