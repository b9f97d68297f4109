# Figures for a paper: one column wide, two columns wide; PDF with its fonts, PNG to look at.
set -eu
text="the cat sat in the house because the cat was cold"
maskviz show -m demo:gpt "$text" --layer 1 --head 0 --style paper -o one-column.pdf -o one-column.png --dpi 300
maskviz show -m demo:bert "猫 坐 在 房子 里。" "the cat sat in the house." --layer 0-1 --style paper --columns 2 \
  -o two-columns.pdf -o two-columns.png -o two-columns.svg --dpi 200
python - <<'CODE'
from pathlib import Path

for name in ("one-column.pdf", "two-columns.pdf"):
    data = Path(name).read_bytes()
    box = data.split(b"/MediaBox [")[1].split(b"]")[0].split()
    print(f"{name}: {float(box[2]) / 72:.2f} inches wide, {data.count(b'/FontFile2')} fonts embedded")
print("text stays text in the SVG:", "<text" in Path("two-columns.svg").read_text("utf-8"))
CODE
