# Mistakes in attention of one's own: which rules find each, and that what is right beside it passes.
set -eu
found() {
    printf '%s: ' "$1"
    maskviz check --module "nets.py:$2" --inputs "$3.npz" --fail-on never --format json |
        python -c 'import json, sys; print(*sorted({one["id"] for one in json.load(sys.stdin)["findings"]}) or ["nothing"])'
}
python make_inputs.py
found "a padding mask upside down" attention sdpa-inverted
found "a mask without a head axis" attention sdpa-three-axes
found "right" attention sdpa
found "booleans added to the scores" added added-booleans
found "zeros and ones added to the scores" added added-ones
found "right" added added
found "a causal flag on a decode step" step plain
found "right" step step
found "a triangle that hides the diagonal" strict plain
found "right" causal plain
found "a mean over all tokens beside causal attention" mixing plain
found "padding that no mask hides" encoder encoder-unmasked
found "a mask in the order of repeat" encoder encoder-repeat
found "right" encoder encoder-repeat-interleave
found "a causal mask upside down" encoder encoder-triangle-inverted
found "right" encoder encoder-triangle
found "right" encoder encoder
found "the encoder's padding shown to the decoder" transformer transformer-memory
found "right" transformer transformer
maskviz check --module nets.py:step --inputs plain.npz || echo "exit $?"
maskviz show --module nets.py:step --inputs plain.npz --text 1 -o step.png --quiet
rm -rf __pycache__
