"""Everything that knows a private name of transformers or torch, each piece with a canary that says when it moved."""
