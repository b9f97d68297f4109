# A block as in nanoGPT, fused and by hand: the same masks, the same heads, to rounding the same numbers.
set -eu
python -c 'import numpy as np; np.savez("inputs.npz", input=np.random.default_rng(0).standard_normal((1, 8, 32)).astype("f"))'
maskviz show --module block.py:fused --inputs inputs.npz -o fused.npz -o fused.png --quiet
maskviz show --module block.py:by_hand --inputs inputs.npz -o by-hand.npz -o by-hand.png --quiet
maskviz show --module block.py:by_hand --inputs inputs.npz --brief
maskviz diff fused.npz by-hand.npz
rm -r fused.npz by-hand.npz; rm -rf __pycache__
