# Masks from a config alone: 405 billion parameters that are never loaded, bands laid out as query x key, and a hybrid.
set -eu
maskviz show -m llama-405b.json "The cat sat on the mat" "A dog" --text 2
maskviz show -m longformer.json "The animal did not cross the wide street because it was too tired" --text 1 \
    --title "Longformer's two windows, from its config alone" -o windows.png
maskviz show -m hybrid.json "one two three four five six seven eight" --layer 2
