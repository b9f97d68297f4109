"""A padding mask of two rows, as a tokenizer returns it, and a causal mask with a window, True = attend."""

import numpy as np

tokens = np.arange(8)
np.save("keep.npy", (tokens < np.array([[5], [8]])).astype(np.int64))
distance = tokens[:, None] - tokens
np.save("window.npy", (distance >= 0) & (distance < 3))
