"""maskviz: see, question and trust the attention masks of Transformer models."""

__version__ = "0.1.0"
