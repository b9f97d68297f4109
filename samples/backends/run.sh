# What attention backends are handed: an image's tokens see each other, except under flash attention; the weights are
# random, the masks are not. Neither a GPU nor flash_attn is needed to ask.
set -eu
python make_model.py ./tiny-gemma3-image 2>/dev/null
text="The dog ran home. The cat sat."
types="0 0 1 1 1 0 0 0 0"
maskviz show -m ./tiny-gemma3-image "$text" --token-types "$types" --attn flash_attention_2 --layer 0,1 --head 0 \
    --title "Under flash_attention_2 the tokens of an image no longer see each other" -o backends.png
for backend in sdpa flex_attention flash_attention_2; do
    maskviz show -m ./tiny-gemma3-image "$text" --token-types "$types" --attn $backend --layer 0 --head 0
done
maskviz show -m demo:gpt "The cat sat." "The dog ran." --packed --attn flash_attention_2 --layer 0 --head 0
rm -r ./tiny-gemma3-image
