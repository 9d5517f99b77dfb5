"""What the command line does, one command to a file. Each has `add(subparsers)` and runs through its parser's default."""
