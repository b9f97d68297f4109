# The interactive view: a what-if walked with the arrow keys, as it looks on a terminal. At a terminal of your own:
#   maskviz explore -m demo:gpt "The cat sat in the house because the cat was cold"
set -eu
export COLORTERM=truecolor TERM=xterm-256color
maskviz show -m demo:gpt "The cat sat in the house because the cat was cold" --head-mask "0:3" -o run.npz
env -u NO_COLOR python picture.py run.npz explore.png n n down down
rm run.npz
