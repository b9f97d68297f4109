# Images: two pictures in one text. Each sees itself whole, and no later picture is seen. Weights are random.
set -eu
python make_model.py ./tiny-gemma3 2>/dev/null
text="The cat <start> and the dog <start> ran home."
maskviz show -m ./tiny-gemma3 "$text" --image picture.png --image picture.png \
    --title "Two images in a text, a full and a windowed layer (random weights)" -o image.png
maskviz show -m ./tiny-gemma3 "$text" --image picture.png --image picture.png --layer 0 --head 0
maskviz show -m ./tiny-gemma3 "What is it?" --image picture.png --layer 1 --head 0
rm -r ./tiny-gemma3 picture.png
