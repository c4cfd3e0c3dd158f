"""Writes a trained run as one file that other programs can load: pixels in, class probabilities out.

Normalisation and all networks are inside. Input: aligned faces, uint8 [N, S, S, 3] RGB; output:
probabilities, float32 [N, K]. The metadata holds the classes, thresholds, data set and the licence of the
initial weights. The file is written only if it agrees with PyTorch. ONNX needs `pip install '.[onnx]'`;
`compact` is safetensors in half precision without dlib's frozen network, which its readers must have
installed. Defaults stand in brackets.

  python -m asm export runs/synthetic_n30_asm_s0 --format onnx
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder: <profile>/runs/<cell>")
    parser.add_argument("--format", choices=("onnx", "safetensors", "compact"), default="onnx", help="(onnx)")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="above 1 makes the probabilities less sure (1)"
    )
    parser.add_argument("--out", type=Path, help="the file (<cell>.onnx or <cell>.safetensors)")


def run(args: argparse.Namespace) -> None:
    from asm.basics.errors import InputError
    from asm.tools.export import classifier, formats

    suffix, *_ = formats.FORMATS[args.format]
    if args.out is not None and args.out.suffix != suffix:
        raise InputError(
            f"--out {args.out}: expected a name that ends in {suffix}, as --format {args.format}"
        )
    if args.out is not None and args.out.resolve().is_relative_to(args.run.resolve()):
        raise InputError(f"--out {args.out}: lies in the run's own folder; name a file outside")
    if not args.temperature > 0:
        raise InputError(f"--temperature {args.temperature}: expected a number above 0")
    module = classifier.from_run(args.run, args.temperature)
    told = module.description
    path = args.out or Path(told.cell + suffix)
    worst = formats.write(module, args.format, path)
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; faces of {told.size} pixels -> probabilities of "
        f"{', '.join(told.classes)}; differs from PyTorch by at most {worst:.1e}"
    )
