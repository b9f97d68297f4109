"""The taps that hear a model's attention."""
