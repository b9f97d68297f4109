"""Command lines that show what each command is for; the help lists them, and the tests run every one."""

from __future__ import annotations

from collections.abc import Mapping

# Files that examples name; the tests put such files where they run them.
FILES = ("run.npz", "mask.npy", "texts.txt", "batch.jsonl", "config.json")

# What is begun with: the command, and what it shows.
FIRST = (
    ('maskviz show "The cat sat on the mat"', "masks, and the heads that stand out"),
    ('maskviz check -m demo:gpt "a cat" "a dog ran"', "is something wrong with my batch?"),
    ("maskviz demo", "a tour of six pictures"),
)

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "show": (
        'maskviz show -m demo:gpt "The cat sat" --layer 0 --head 3',
        'maskviz show "a short text" "and one that is longer" --only mask',
        'maskviz show -m demo:gpt "The cat sat on the mat" --head-mask "0:3"',
        'maskviz show -m config.json "The cat sat on the mat" --brief',
        'maskviz show -m demo:gpt "The cat sat" -o report.html -o mask.png',
    ),
    "check": (
        'maskviz check -m demo:gpt --file batch.jsonl --fail-on never',
        'maskviz check -m demo:gpt --padding-side right "a cat" "a dog ran" --fail-on never',
        "maskviz check mask.npy --as sdpa --fail-on never",
        'maskviz check mask.npy --meant "causal" --fail-on never',
        "maskviz check --list --select P",
    ),
    "explain": (
        'maskviz explain -m demo:gpt "The cat sat on the mat" --at 2,4',
        'maskviz explain -m demo:gpt "The cat sat" "A dog ran home" --text 1 --at "3,*"',
        "maskviz explain run.npz --at 4,2",
        "maskviz explain mask.npy --as sdpa --at 0,2",
        'maskviz explain -m demo:t5 "The cat sat" --target "the cat" --stack decoder --at 0,1',
    ),
    "diff": (
        'maskviz diff -m demo:gpt --attn eager,sdpa "The cat sat on the mat"',
        'maskviz diff -m demo:gpt --against config.json --ids "5 17 3 9"',
        "maskviz diff run.npz run.npz",
        "maskviz diff mask.npy mask.npy --as sdpa",
        "maskviz diff mask.npy mask.npy --as sdpa --exit-code",
    ),
    "convert": (
        "maskviz convert --list",
        "maskviz convert mask.npy --from sdpa --to torch-mha --heads 4 -o torch.npy",
        "maskviz convert mask.npy --from sdpa --to keras -o keras.npy",
        "maskviz convert mask.npy --from sdpa --to python",
        "maskviz convert mask.npy --from sdpa --to hf-4d --dtype float16 -o hf.npy",
    ),
    "heads": (
        "maskviz heads -m demo:gpt --probe",
        "maskviz heads -m demo:gpt --file texts.txt --by previous",
        'maskviz heads "The cat sat on the mat" --mean',
        'maskviz heads "The cat sat on the mat" --rollout --words',
        'maskviz heads -m demo:gpt "The cat sat on the mat" --no-sink -o heads.json',
    ),
    "importance": (
        "maskviz importance -m demo:gpt --file texts.txt",
        'maskviz importance -m demo:gpt "The cat sat on the mat" --method gradient',
        'maskviz importance "The cat sat on the mat" --ablation mean --top 5',
        'maskviz importance -m demo:gpt "The cat sat on the mat" --measure kl',
        'maskviz importance -m demo:gpt "The cat sat on the mat" -o heads.png',
    ),
    "prune": (
        'maskviz prune -m demo:gpt "The cat sat on the mat" --keep 0.75',
        'maskviz prune -m demo:gpt "The cat sat on the mat" --within 0.1 --save kept.json',
        'maskviz prune -m demo:gpt "The cat sat on the mat" --by gradient --random 2',
        'maskviz prune -m demo:gpt "The cat sat on the mat" --rerank --step 0.25',
        'maskviz prune -m demo:gpt "The cat sat on the mat" -o curve.png',
    ),
    "mask": (
        'maskviz mask "causal & window(4)" --length 12',
        "maskviz mask 'causal & document' --length 12 --documents 5,4",
        "maskviz mask 'causal & window(4096)' --length 1000000",
        "maskviz mask --model config.json --length 16",
        'maskviz mask "bidirectional & padding" --length 12 --padding 4 -o padding.png',
    ),
    "mlm": (
        'maskviz mlm "The cat sat on the mat and the dog ran" --seed 0',
        'maskviz mlm "The cat sat on the mat" --seeds 1000',
        'maskviz mlm "The cat sat on the mat" --whole-word',
        'maskviz mlm "The cat sat on the mat" --probability 0.4 --seed 3',
        'maskviz mlm "The cat sat on the mat" -o masked.png',
    ),
    "view": (
        "maskviz view run.npz",
        "maskviz view run.npz --layer 0 --head 3",
        "maskviz view run.npz --all",
        "maskviz view run.npz -o report.html",
        "maskviz view run.npz --only mask -o mask.pdf --style paper",
    ),
    "info": (
        "maskviz info demo:gpt",
        "maskviz info config.json",
        "maskviz info demo:t5",
        "maskviz info demo:bert --length 16",
        "maskviz info config.json -o rules.txt",
    ),
    "demo": (
        "maskviz demo --no-wait",
        "maskviz demo -o pictures",
    ),
    "doctor": (
        "maskviz doctor",
        "maskviz doctor --json",
        "maskviz doctor -o machine.txt",
    ),
    "explore": (
        'maskviz explore -m demo:gpt "The cat sat on the mat"',
        'maskviz explore -m demo:gpt "The cat sat" "A dog ran home"',
        "maskviz explore run.npz",
        'maskviz explore -m demo:t5 "The cat sat" --target "the cat"',
        'maskviz explore -m demo:gpt "The cat sat" --layer 1 --head 2',
    ),
}  # fmt: skip
