# A report to hand on: one page that needs neither a network nor maskviz, with what check says of the run.
set -eu
maskviz show "The animal didn't cross the street because it was too tired." "The cat sat." --check -o report.html -o report.npz
maskviz view report.npz -o again.html
python pictures.py report.html
