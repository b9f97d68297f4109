# A diffusers UNet: where each place of the picture looks in its prompt, the prompt's padding hidden (pip install diffusers).
set -eu
python make_inputs.py
maskviz show --module unet.py:build --inputs inputs.npz --labels prompt.json --stack cross --layer 0 --all -o cross.png
maskviz check --module unet.py:build --inputs inputs.npz
maskviz explain --module unet.py:build --inputs inputs.npz --labels prompt.json --stack cross --layer 0 --at 3,6
rm -rf __pycache__
