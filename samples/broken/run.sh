# Mistakes, made by make_broken.py as people make them: which rules find them, and three findings in full.
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
found "a mask upside down" -m demo:bert --file mask-upside-down.jsonl
found "a mask that is too short" -m demo:gpt --file short-mask.jsonl
found "texts numbered in the mask" -m demo:gpt --file numbered-texts.jsonl
found "too few labels" -m demo:gpt --file too-few-labels.jsonl
found "labels that are shifted twice" -m demo:gpt --file labels-shifted.jsonl
found "a label outside the vocabulary" -m demo:gpt --file label-outside.jsonl
found "no label left" -m demo:gpt --file no-label.jsonl
found "a misspelt key" -m demo:gpt --file misspelt-key.jsonl
found "true and false as ids" -m demo:gpt --file boolean-ids.jsonl
found "the first token twice" -m demo:bert --file first-token-twice.jsonl
found "a mask that shows padding" -m demo:bert --file right-padded.jsonl --mask all-ones.npy
found "a mask of three axes" -m demo:bert --file right-padded.jsonl --mask three-axes.npy
found "a mask that shows the next token" -m demo:gpt --file one-text.jsonl --mask padding-alone.npy
found "branches whose positions run on" -m demo:gpt --file one-text.jsonl --mask branches.npy
found "a window that no layer has" -m unused-window.json "one two three four five six"
found "a config its model does not follow" -m sliding.json "one two three four five six"
found "True for attend, where True is ignore" inverted.npy --as torch-mha --heads 4
found "ones and zeros that are added" ones-and-zeros.npy --as hf-4d
found "booleans that are added" boolean-in-eager.npy --as hf-4d
found "repeat for repeat_interleave" repeated.npy --as torch-mha --heads 4 --batch 2
found "a triangle from the first key" from-the-first-key.npy --as sdpa --queries 3 --keys 8
found "the minimum, added twice" minimum-twice.npy --as hf-4d
found "a window of five, meant to be four" window-of-five.npy --as sdpa --window 4
found "queries and keys swapped" swapped.npy --as sdpa
found "offsets without their 0" offsets.npy --as cu-seqlens
found "not the mask that was meant" meant-to-be-blocks.npy --as sdpa --meant "block(4)"
maskviz check -m demo:gpt --file packed.jsonl --fail-on never
maskviz check -m demo:bert --file right-padded.jsonl --mask all-ones.npy --fail-on never
maskviz check inverted.npy --as torch-mha --heads 4 --fail-on never -o inverted.png
