"""`python -m maskviz`."""

from maskviz.cli.app import main

if __name__ == "__main__":
    main()
