# Masks beside the model's behaviour: the gradients of the values, and a changed last token that moves nothing before it.
set -eu
maskviz show -m demo:gpt "The cat sat on the mat." "A dog." --prove --text 2 --layer 0 --head 0
maskviz show -m demo:t5 "Anna has a red ball." --target "ball. red" --prove --stack cross --layer 0 --head 0
maskviz show -m demo:gpt "The cat sat on the mat." --prove --layer 0 --head 3 \
    --title "A causal mask, proven by the model's gradients" -o proof.png
