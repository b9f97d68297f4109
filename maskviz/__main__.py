"""Entry point of the `maskviz` command and of `python -m maskviz`."""

from __future__ import annotations

import os

try:
    from maskviz.cli.pulse import PULSE

    PULSE.begin()  # a line before anything heavy is imported

    from maskviz.cli.app import CODE, end, leave, leave_at_interrupt

    leave_at_interrupt()
except KeyboardInterrupt:  # before there is anybody who could say it
    os.write(2, b"maskviz: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command line; Ctrl-C ends it in one line and with its exit code at any moment."""
    try:
        from maskviz.cli.app import run

        run()
    except KeyboardInterrupt:
        leave()
    except SystemExit as left:
        end(left.code)
        if left.code == CODE:  # Python ends by a signal of its own where an interrupt has gone through its `exec`
            os._exit(CODE)
        raise


if __name__ == "__main__":
    main()
