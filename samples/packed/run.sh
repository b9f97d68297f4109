# Packed texts: two texts in one row, positions restarting. With a cache the model never notices; without one it does.
set -eu
maskviz show -m demo:gpt --packed "The cat sat." "The dog ran home." --layer 0 --head 0
maskviz show -m demo:gpt --packed "The cat sat." "The dog ran home." "It was cold." --no-cache --layer 0 \
    --title "Three packed texts, called without a cache" -o packed.png
maskviz show -m demo:gpt --packed "The cat sat." "The dog ran home." --no-cache --layer 0 --head 0
