"""The command line: arguments become values, values become pages and files."""
