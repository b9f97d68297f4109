"""Save three masks for 9 tokens: a prefix of 4 that sees itself whole, the same with a common mistake, and a hole."""

import numpy as np

TOKENS, PREFIX = 9, 4

allowed = np.tril(np.ones((TOKENS, TOKENS), dtype=bool))
allowed[:PREFIX, :PREFIX] = True
np.save("prefix.npy", allowed[None, None])  # [batch, head, query, key], True = may attend
np.save("mistake.npy", allowed[None, None].astype(np.float32))  # added to the scores: 0 and 1 block nothing
keep = np.ones((1, TOKENS), dtype=np.int64)
keep[0, 2] = 0
np.save("hole.npy", keep)  # [batch, token], 1 = keep
