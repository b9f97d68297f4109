# Sliding window: one model, two kinds of layers, and left padding. The weights are random; the masks are not.
set -eu
python make_model.py ./tiny-gemma3 2>/dev/null
maskviz info ./tiny-gemma3
maskviz show -m ./tiny-gemma3 "The cat sat." "The dog ran into the house because it was cold." \
    --title "Full and sliding-window layers of one model (random weights)" -o sliding-window.png
maskviz show -m ./tiny-gemma3 "The dog ran into the house because it was cold." --layer 1 --head 0
rm -r ./tiny-gemma3
