"""What `python -m asm` offers, a folder a command: in its __init__.py the docstring is the help,
`add_arguments(parser)` declares the options and `run(args)` does the work. `run` imports what it needs, so
that `--help` is there at once. The rest of `asm` imports nothing from here.
"""
