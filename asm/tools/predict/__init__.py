"""Expressions of every face in a photo, or in a folder of photos or of a video's frames.

Writes OUT/predictions.csv and an annotated image of each. A face whose probability is below the threshold T_c
of its class is said to be between two expressions.

  python -m asm predict photo.jpg --weights runs/synthetic_n30_asm_s0
  python -m asm predict holiday/ --weights model.onnx
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, help="an image, or a folder of images")
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="a run's folder, <profile>/runs/<cell>, or a file that `export` wrote",
    )
    parser.add_argument("--smallest", type=int, default=40, help="skip faces below so many pixels (40)")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder (predictions/)")


def run(args: argparse.Namespace) -> None:
    from asm.parts.device import all_cores
    from asm.tools.export import classifier, formats
    from asm.tools.predict import photos

    paths = photos.find_images(args.images)
    root = args.images if args.images.is_dir() else args.images.parent
    device = all_cores()
    if args.weights.is_dir():
        module = classifier.from_run(args.weights)
        classify, description = formats.predictor(module), module.description
    else:
        classify, description = formats.read(args.weights)
    found = photos.predict(paths, root, classify, description, args.smallest, args.out, str(device))
    print(f"{args.out / 'predictions.csv'}: {found.pop('faces')} faces in {found.pop('images')} images")
    for what, number in found.items():
        if number:
            print(f"note: {number} {what}")
