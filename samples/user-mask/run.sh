# A mask of your own: a prefix that sees itself whole, the mistake of a float mask of zeros and ones, a hidden token.
set -eu
python make_masks.py
text="The dog ran home because it was cold."
maskviz show -m demo:gpt "$text" --mask prefix.npy --layer 0 --title "A mask of your own: a prefix of four tokens" \
    -o user-mask.png
maskviz show -m demo:gpt "$text" --mask prefix.npy --layer 0 --head 0
maskviz show -m demo:gpt "$text" --mask mistake.npy --layer 0 --head 0
maskviz show -m demo:gpt "$text" --mask hole.npy --layer 0 --head 0
rm prefix.npy mistake.npy hole.npy
