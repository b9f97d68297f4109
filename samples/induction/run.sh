# A head that makes a model repeat what it has read: silencing it costs a repeated text most and another text little.
# With attention held as it was (frozen) it costs next to nothing: what it does, it does by where later heads look.
set -eu
again="stone river lamp apple dog green seven stone river lamp apple dog green"
once="stone river lamp apple dog green seven box hat bag house tree bird"
maskviz importance -m demo:gpt "$again" -o repeated.png
maskviz importance -m demo:gpt "$again" --top 4
maskviz importance -m demo:gpt "$once" --top 4
maskviz importance -m demo:gpt "$again" --ablation frozen --top 4
