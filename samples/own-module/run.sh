# An nn.TransformerEncoder of one's own: its masks and heads, a head silenced, and its padding mask the wrong way round.
set -eu
python make_inputs.py
maskviz show --module model.py:build --inputs right.npz --labels words.json
maskviz explain --module model.py:build --inputs right.npz --labels words.json --text 2 --at 1,6
maskviz show --module model.py:build --inputs right.npz --labels words.json --head-mask "0:1" --brief
maskviz check --module model.py:build --inputs right.npz
maskviz check --module model.py:build --inputs inverted.npz || echo "exit $?"
maskviz show --module model.py:build --inputs right.npz --labels words.json -o encoder.png
