"""Ranks the labels of a data set, the likeliest wrong one first: audit.csv, and audit.html to review them.

Every face is judged by networks that were not trained on it (cross-validation with ASM, on features of a
frozen face-recognition network, which `pip install '.[faces]'` brings). An interrupted audit resumes; aligned
faces and features are kept in OUT/cache. Defaults stand in brackets.

  python -m asm audit data/raw/mine
  python -m asm audit data/raw/ferplus --source ferplus --align pad=0.25 upscale=2
  python -m asm audit --from profiles/ferplus/runs/ferplus_n30_asm_s0
"""

import argparse
from pathlib import Path

from asm.tools import values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, nargs="?", help="folder of the data set")
    parser.add_argument("--source", default="folder", help="a file of asm/datasets that reads it (folder)")
    parser.add_argument(
        "--options", nargs="+", default=[], metavar="KEY=VALUE", help="of the source, as in a profile"
    )
    parser.add_argument(
        "--align",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="as in params.yaml: pad=0.25 upscale=2 for small or tight crops, detect=false for aligned faces",
    )
    parser.add_argument("--folds", type=int, default=5, help="parts, each judged by the others (5)")
    parser.add_argument(
        "--from",
        dest="run_folder",
        type=Path,
        metavar="RUN",
        help="audit a trained cell, <profile>/runs/<cell>, by the probabilities that it stored",
    )
    parser.add_argument("--out", type=Path, default=Path("audit"), help="folder for the results (audit)")


def run(args: argparse.Namespace) -> None:
    from asm.basics.errors import InputError
    from asm.tools.audit import auditing

    if (args.data is None) == (args.run_folder is None):
        raise InputError("audit: name either a data set's folder, or a run by --from")
    if args.folds < 2:
        raise InputError(f"audit: --folds: expected 2 or more, found {args.folds}")
    if args.run_folder is not None:
        done = auditing.of_run(args.run_folder, args.out)
    else:
        options, align = values(args.options, "--options"), values(args.align, "--align")
        done = auditing.of_data(args.data, args.source, options, align, args.folds, args.out)
    print(done.summary)
    for line in done.remarks:
        print(f"note: {line}")
    print(f"{args.out / 'audit.csv'}: every face, the likeliest wrong label first")
    print(f"{args.out / 'audit.html'}: open it in a browser to review them")
