"""Entry point of the `maskviz` command and of `python -m maskviz`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it in one line and with its exit code at any moment from here on."""
    try:
        from maskviz.cli.app import run  # the imports may be interrupted too

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("maskviz: interrupted\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and written; what is left is Python's own ending


if __name__ == "__main__":
    main()
