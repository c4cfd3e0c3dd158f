"""What a user calls by hand: `python -m asm gallery RUN FACES OUT`."""

import argparse
from pathlib import Path

from asm.errors import reported
from asm.version import VERSION


def _gallery(args: argparse.Namespace) -> None:
    from asm.report.gallery import write_sheets  # here: each command loads only what it needs

    for path in write_sheets(args.run, args.faces, args.out):
        print(path)


def main(argv: list[str] | None = None) -> None:
    """Run one command. What the user can mend ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m asm", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gallery = commands.add_parser("gallery", help="example faces of a run's subsets, as sheets of png")
    gallery.add_argument("run", type=Path, help="a run's folder: runs/<cell>")
    gallery.add_argument("faces", type=Path, help="its data set: data/aligned/<dataset>")
    gallery.add_argument("out", type=Path, help="folder for the sheets; keep licensed faces to yourself")
    gallery.set_defaults(command=_gallery)
    args = parser.parse_args(argv)
    with reported():
        args.command(args)


if __name__ == "__main__":
    main()
