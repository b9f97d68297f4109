"""For each mistake its inputs, and for most of them the right ones beside."""

import numpy as np

rng = np.random.default_rng(0)
x = rng.standard_normal((4, 6, 32)).astype(np.float32)
padding = np.zeros((4, 6), bool)  # True is padding
padding[1, 4:] = padding[2, 3:] = True
x[padding] = 0
keep = ~padding[:, None, None, :]
pairs = np.broadcast_to(keep[:, 0], (4, 6, 6)).copy()  # [row, query, key], True = may attend
triangle = np.tril(np.ones((6, 6), bool))

np.savez("plain.npz", x=x)
np.savez("sdpa.npz", x=x, mask=keep)
np.savez("sdpa-inverted.npz", x=x, mask=~keep)
np.savez("sdpa-three-axes.npz", x=x, mask=pairs)
np.savez("added.npz", x=x, mask=np.where(keep, 0, np.finfo(np.float32).min).astype(np.float32))
np.savez("added-booleans.npz", x=x, mask=keep)
np.savez("added-ones.npz", x=x, mask=keep.astype(np.float32))
np.savez("step.npz", x=x, mask=np.tril(np.ones((2, 6), bool), 4))
np.savez("encoder.npz", src=x, src_key_padding_mask=padding)
np.savez("encoder-unmasked.npz", src=x)
np.savez("encoder-repeat-interleave.npz", src=x, mask=np.repeat(~pairs, 4, axis=0))
np.savez("encoder-repeat.npz", src=x, mask=np.tile(~pairs, (4, 1, 1)))
np.savez("encoder-triangle.npz", src=x, mask=~triangle)
np.savez("encoder-triangle-inverted.npz", src=x, mask=triangle)
both = {"src": x, "tgt": x[:, :5], "src_key_padding_mask": padding, "tgt_mask": ~triangle[:5, :5]}
np.savez("transformer.npz", **both, memory_key_padding_mask=padding)
np.savez("transformer-memory.npz", **both)
