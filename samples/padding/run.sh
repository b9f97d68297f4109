# Padding: rows of a batch must be equally long, and the mask keeps the filling out.
set -eu
maskviz show "The cat sat." "The dog ran into the house." "It was tired." --layer 0 -o padding.png
maskviz show "The cat sat." "The dog ran into the house." "It was tired." --layer 0 --head 0 --text 1
