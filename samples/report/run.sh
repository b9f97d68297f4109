# A report to hand on: one page that needs neither a network nor maskviz, with what check found in the run it shows.
set -eu
text="stone river lamp apple dog green seven stone river lamp apple dog green"
maskviz show -m demo:gpt "$text" "river lamp river" --padding-side left --check -o report.html -o run.npz || echo "exit $?"
# The same run as a figure of two columns, to stand in the review itself.
maskviz view run.npz --text 1 --layer 0-1 --style paper --columns 2 -o figure.pdf -o figure.png --dpi 200
# What the page says of a cell is what explain says.
maskviz explain run.npz --text 2 --layer 0 --at 12,4
maskviz view run.npz -o again.html
python pictures.py report.html
