"""Facial expressions: find wrong labels, read photos and videos, export a model, train on your own faces."""

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

from asm import tools
from asm.basics.errors import reported
from asm.basics.version import VERSION


def main(argv: list[str] | None = None) -> None:
    """Run one command. What the user can mend ends in one line and exit code 1; a wrong call in exit code 2;
    Ctrl-C in 130."""
    typed = Path(sys.argv[0]).name  # `asm-fer`, where the package is installed
    typed = "python -m asm" if typed == "__main__.py" else typed
    parser = argparse.ArgumentParser(prog=typed, description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in sorted(module.name for module in pkgutil.iter_modules(tools.__path__)):
        module = importlib.import_module(f"asm.tools.{name}")
        summary, _, rest = module.__doc__.partition("\n")
        command = added.add_parser(
            name,
            help=summary,
            description=f"{summary}\n{rest}".replace("python -m asm", typed),
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
