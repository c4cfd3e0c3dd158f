"""A trained run as one file that other programs load: pixels in, class probabilities out.

Normalisation and all networks are inside. Input: aligned faces, uint8 [N, S, S, 3] RGB; output:
probabilities, float32 [N, K]. Classes, thresholds, data set and the licence of the initial weights are in the
file's metadata. It is compared with PyTorch before it gets its name. ONNX needs `pip install '.[onnx]'`.

  python -m asm export runs/synthetic_n30_asm_s0 --format onnx
"""

import argparse
from pathlib import Path

FORMATS = ("onnx", "torchscript", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder: <profile>/runs/<cell>")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="(onnx)")
    parser.add_argument("--out", type=Path, help="the file (<cell>.onnx, .pt or .safetensors, here)")


def run(args: argparse.Namespace) -> None:
    from asm.basics.errors import InputError
    from asm.tools.deploy import classifier, formats

    suffix = formats.SUFFIXES[args.format]
    if args.out is not None and args.out.suffix != suffix:
        raise InputError(
            f"--out {args.out}: expected a name that ends in {suffix}, as --format {args.format}"
        )
    module, description = classifier.from_run(args.run)
    path = args.out or Path(description.cell + suffix)
    worst = formats.write(module, description, args.format, path)
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; faces of {description.size} pixels -> probabilities of "
        f"{', '.join(description.classes)}; differs from PyTorch by at most {worst:.1e}"
    )
