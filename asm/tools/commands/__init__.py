"""What `python -m asm` offers, a file a command: `add_arguments(parser)` and `run(args)`; the docstring is
its help. What a command needs is imported in `run`: `--help` is there at once.
"""

from typing import Any


def values(pairs: list[str], option: str) -> dict[str, Any]:
    """KEY=VALUE of a command line, the values read as YAML. Raises InputError for anything else."""
    import yaml

    from asm.basics.errors import InputError

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InputError(f"{option}: expected KEY=VALUE, found {pair!r}")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"{option} {pair}: not a value of YAML: {error}") from error
    return found
