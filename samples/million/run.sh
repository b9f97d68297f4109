# A mask of a million tokens, which as a square would take 1 TB: three documents packed one after the other, under a
# window and without one. Then the masks of a model of 27 billion parameters at its full length, from its config alone.
set -eu
maskviz mask 'causal & window(4096) & document' --length 1000000 --documents 400000,350000 --heads 32 --width 128 \
    -o window.png
maskviz mask 'causal & document & padding' --length 1000000 --documents 400000,350000 --padding 100000 \
    -o documents.png
maskviz mask 'causal & document & padding' --length 1000000 --documents 400000,350000 --padding 100000
maskviz mask -m gemma3-27b.json --length 131072 -o gemma3.png
maskviz mask -m gemma3-27b.json --length 131072 | tail -12
