"""maskviz from Python: a model and a text go in, a trace that can be looked at comes out."""
