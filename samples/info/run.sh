# What the layers of a model do, from its config.json alone: the rule its own code applies in each, and whose masks look
# the same at 600 tokens. The second config names a window that its model does not use.
set -eu
maskviz info config.json --length 600
maskviz info config.json -o info.png
maskviz info claims-a-window.json
