# head_mask: silence the induction heads of layer 1, and the model no longer repeats what it has just read.
set -eu
text="stone river lamp apple dog green seven stone river lamp apple dog green"
maskviz show -m demo:gpt "$text" --head-mask "1:*" -o head-mask.png
maskviz show -m demo:gpt "$text" --head-mask "1:*"
