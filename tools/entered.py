"""How many files of ours a command walks through: those of which a function runs, beyond what importing them runs.

    python -m tools.entered show "the cat sat"
    python -m tools.entered check -m demo:gpt "a" "b c d" --list-files

What the command writes goes to standard output, the count to standard error.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import FrameType

import maskviz

HOUSE = f"{Path(maskviz.__file__).parent}/"
# Set of code that is a function's: neither a module's nor a class's own body.
_OPTIMISED = 0x01


def entered(arguments: list[str]) -> list[str]:
    """Run a command, and say of which files of the house a function ran, in the order they were entered."""
    from maskviz.cli.app import app

    files: dict[str, None] = {}

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        own = code.co_filename.startswith(HOUSE) and code.co_flags & _OPTIMISED and code.co_name != "<module>"
        if event == "call" and own and code.co_filename not in files and not _importing(frame):
            files[code.co_filename] = None

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        app(arguments, prog_name="maskviz", standalone_mode=True)
    except SystemExit:
        pass
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [name.removeprefix(HOUSE) for name in files]


def _importing(frame: FrameType | None) -> bool:
    """Whether a file of the house is being imported."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(HOUSE):
            return True
        frame = frame.f_back
    return False


def main() -> None:
    """Count for the command that is given."""
    arguments = [one for one in sys.argv[1:] if one != "--list-files"]
    files = entered(arguments)
    if len(arguments) < len(sys.argv) - 1:
        print(*files, sep="\n", file=sys.stderr)
    print(f"{arguments[0] if arguments else 'maskviz'} enters {len(files)} files of maskviz", file=sys.stderr)


if __name__ == "__main__":
    main()
