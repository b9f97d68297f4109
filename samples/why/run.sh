# Why a token sees another, or not: a cell, a row and a column of a model with full and windowed layers. Weights are random.
set -eu
python make_model.py ./tiny-gemma3 2>/dev/null
text="The dog ran into the house because it was cold."
maskviz explain -m ./tiny-gemma3 "$text" --at 7,2
maskviz explain -m ./tiny-gemma3 --padding-side right "The cat sat." "$text" --text 1 --at "3,*" --layer 1
maskviz explain -m ./tiny-gemma3 "$text" --at "*,4" --layer 1 -o column.png
rm -r ./tiny-gemma3
