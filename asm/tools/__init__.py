"""What `python -m asm` offers, a folder a command: in its __init__.py the docstring is the help,
`add_arguments(parser)` declares the options and `run(args)` does the work. `run` imports what it needs, so
that `--help` is there at once. The rest of `asm` imports nothing from here.
"""

from typing import Any


def values(pairs: list[str], option: str) -> dict[str, Any]:
    """KEY=VALUE of a command line, the values read as YAML 1.2. Raises InputError for anything else."""
    from ruamel.yaml import YAML, YAMLError

    from asm.basics.errors import InputError

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InputError(f"{option}: expected KEY=VALUE, found {pair!r}")
        try:
            found[key] = YAML(typ="safe", pure=True).load(value)
        except YAMLError as error:
            raise InputError(
                f"{option} {pair}: not a value of YAML: {' '.join(str(error).split())}"
            ) from None
    return found
