# Causal and bidirectional: the same words, with and without a look ahead.
set -eu
text="The animal didn't cross the street because it was too tired"
maskviz show -m demo:gpt "$text" --layer 0 -o causal.png
maskviz show -m demo:bert "$text" --layer 0 -o bidirectional.png
maskviz show -m demo:gpt "$text" --layer 0 --head 3
maskviz show -m demo:bert "$text" --layer 0 --head 0
