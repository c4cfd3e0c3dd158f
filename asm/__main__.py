"""What a user calls by hand: `python -m asm COMMAND`, also installed as `asm-fer`."""

import argparse
import importlib
import pkgutil
import sys

from asm import tools
from asm.basics.errors import reported
from asm.basics.version import VERSION


def main(argv: list[str] | None = None) -> None:
    """Run one command. What the user can mend ends in one line and exit code 1; a wrong call in exit code 2;
    Ctrl-C in 130."""
    parser = argparse.ArgumentParser(prog="python -m asm", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in sorted(module.name for module in pkgutil.iter_modules(tools.__path__)):
        module = importlib.import_module(f"asm.tools.{name}")
        summary, _, rest = module.__doc__.partition("\n")
        command = added.add_parser(
            name,
            help=summary,
            description=f"{summary}\n{rest}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(command=module.run)
    args = parser.parse_args(argv)
    try:
        with reported():
            args.command(args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
