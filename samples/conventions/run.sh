# One mask in the dialects of the frameworks: shapes and signs, what a dialect cannot say, and the code that builds it.
set -eu
python make_masks.py
maskviz convert --list
maskviz convert keep.npy --from hf-2d --to torch-mha --heads 2 -o keep-mha.npy
maskviz convert keep-mha.npy --from torch-mha --heads 2 --to keras
maskviz convert window.npy --from sdpa --to hf-4d -o window.png
maskviz convert window.npy --from sdpa --to python
maskviz convert window.npy --from sdpa --to flex -o window.py
cat window.py
maskviz convert window.npy --from sdpa --to hf-2d 2>&1 || echo "exit $?"
rm keep.npy keep-mha.npy window.npy window.py
