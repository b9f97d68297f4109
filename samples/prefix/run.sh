# Prefix and suffix: token type 0 is a prefix that sees itself whole, 1 a suffix that is causal. Weights are random.
set -eu
python make_model.py ./tiny-paligemma2 2>/dev/null
maskviz show -m ./tiny-paligemma2 "What ran home? The dog ran home." --token-types "0 0 0 0 1 1 1 1 1" \
    --title "A prefix that sees itself whole (random weights)" -o prefix.png
maskviz show -m ./tiny-paligemma2 "What ran home? The dog ran home." --token-types "0 0 0 0 1 1 1 1 1" \
    --layer 1 --head 0
maskviz show -m ./tiny-paligemma2 "What ran home? The dog ran home." --layer 1 --head 0
rm -r ./tiny-paligemma2
