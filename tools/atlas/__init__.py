"""The atlas: one page of the masks of every model type, measured anew with each transformers."""
