# Decode steps: what the last tokens may see when the others come from a cache, and a text as the model goes on with it.
set -eu
maskviz show -m demo:gpt "The cat sat on the mat." --past 5 --layer 0 --head 3
maskviz show -m demo:gpt "stone river lamp apple dog green seven stone river" --step 5 --layer 0,1 \
    --title "A text and the five tokens generated behind it: the stitched attention" -o steps.png
maskviz show -m sliding.json --no-weights "one two three four five six seven eight nine ten" --past 7 --cache static
