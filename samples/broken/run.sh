# Fourteen mistakes, made by make_broken.py as people make them: which rules find them, and two findings in full.
set -eu
found() {
    printf '%s: ' "$1"
    shift
    maskviz check "$@" --fail-on never --format json |
        python -c 'import json, sys; print(*(one["id"] for one in json.load(sys.stdin)["findings"]))'
}
python make_broken.py
found "a mask of ones over padding" -m demo:bert --file mask-of-ones.jsonl
found "left padding without positions" -m demo:gpt --file left-padded.jsonl
found "labels on padding" -m demo:gpt --file labels-on-padding.jsonl
found "a row of padding alone" -m demo:bert --file empty-row.jsonl
found "a mask made before special tokens" -m demo:bert --file without-specials.jsonl
found "packed texts with a cache" -m demo:gpt --file packed.jsonl
found "a config its model does not follow" -m sliding.json "one two three four five six"
found "True for attend, where True is ignore" inverted.npy --as torch-mha --heads 4
found "ones and zeros that are added" ones-and-zeros.npy --as hf-4d
found "booleans that are added" boolean-in-eager.npy --as hf-4d
found "repeat for repeat_interleave" repeated.npy --as torch-mha --heads 4 --batch 2
found "a triangle from the first key" from-the-first-key.npy --as sdpa --queries 3 --keys 8
found "the minimum, added twice" minimum-twice.npy --as hf-4d
found "a window of five, meant to be four" window-of-five.npy --as sdpa --window 4
maskviz check -m demo:gpt --file packed.jsonl --fail-on never
maskviz check inverted.npy --as torch-mha --heads 4 --fail-on never -o inverted.png
