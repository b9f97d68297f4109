# Two masks side by side: two configs, a run with and without a prefix that sees itself whole, two backends.
set -eu
python make_configs.py
maskviz diff -m full.json --against windows.json "the dog ran into the house because it was cold" -o configs.png
maskviz diff -m full.json --against windows.json "the dog ran into the house because it was cold"
maskviz show -m demo:gpt "The cat sat on the mat." -o plain.npz
maskviz show -m demo:gpt "The cat sat on the mat." --mask prefix.npy -o prefix.npz
maskviz diff plain.npz prefix.npz
maskviz diff -m demo:gpt "The cat sat on the mat." --attn eager,sdpa
rm full.json windows.json plain.npz prefix.npz prefix.npy
