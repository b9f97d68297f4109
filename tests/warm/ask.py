"""Has a program run by the warm process: python ask.py SOCKET (maskviz | python) ARGUMENTS ...

It hands over its arguments, folder, variables and streams, and ends as the program ends. Started for every command, it
imports next to nothing.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as line:
    line.connect(sys.argv[1])
    socket.send_fds(line, [b"."], [0, 1, 2])
    wanted = {"words": sys.argv[2:], "folder": os.getcwd(), "variables": dict(os.environ)}  # noqa: PTH109
    line.sendall(json.dumps(wanted).encode())
    line.shutdown(socket.SHUT_WR)
    code = int(line.recv(16) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
