# The TransformerBlock of keras.io behind Embedding(mask_zero=True): its second layer sees padding, and one line mends it.
set -eu
export KERAS_BACKEND=torch
python -c 'import json; json.dump({"ids": [[5, 6, 7, 8, 9, 10, 11, 12], [3, 4, 5, 6, 7, 0, 0, 0]]}, open("ids.json", "w"))'
maskviz show --module blocks.py:as_on_the_web --inputs ids.json --only mask --all --text 2
maskviz check --module blocks.py:as_on_the_web --inputs ids.json || echo "exit $?"
maskviz check --module blocks.py:mask_handed_on --inputs ids.json
maskviz show --module blocks.py:mask_handed_on --inputs ids.json --text 2 -o heads.png
rm -rf __pycache__
