# Encoder, decoder and cross attention: this demo model says the words backwards, and its cross attention shows how.
set -eu
maskviz show -m demo:t5 "Anna has a red ball." --target "ball. red a has Anna" --layer -1 -o encoder-decoder.png
maskviz show -m demo:t5 "Anna has a red ball." --target "ball. red a has Anna" --stack cross --layer -1 --head 0
