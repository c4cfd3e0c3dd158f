"""Reads the expression of every face in a photo, a folder of photos, or a video.

Writes OUT/predictions.csv, and an annotated copy of each photo; of a video, in which faces are followed from
frame to frame, a picture of the probabilities over time. A face whose probability is below the threshold T_c
of its class is said to be between two expressions. Videos need `pip install '.[video]'`.

By default the model in the package tells FER+'s eight expressions apart (docs/model_card.md says how well);
it needs `pip install '.[faces]'`. EU law forbids inferring emotions at work and in schools. Defaults stand in
brackets.

  python -m asm predict photo.jpg
  python -m asm predict holiday/ --weights model.onnx
  python -m asm predict clip.mp4 --fps 5 --annotate --model mine
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, help="an image, a folder of images, or a video")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--weights", type=Path, help="a run's folder, <profile>/runs/<cell>, or a file that `export` wrote"
    )
    which.add_argument(
        "--model", type=Path, help="take the best run of a profile: its folder, or its name below profiles/"
    )
    parser.add_argument("--smallest", type=int, default=40, help="skip faces of fewer pixels a side (40)")
    parser.add_argument("--fps", type=float, default=2.0, help="frames to read of each second of a video (2)")
    parser.add_argument("--annotate", action="store_true", help="also write annotated.mp4 of a video")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="results (predictions)")


def run(args: argparse.Namespace) -> None:
    from asm.basics.errors import InputError
    from asm.parts.device import all_cores
    from asm.tools.predict import model, photos, video
    from asm.tools.predict.faces import TABLE, Reader

    if not args.fps > 0:
        raise InputError(f"--fps {args.fps}: expected a number of frames above 0")
    moving = video.is_video(args.images)
    if moving:
        video.require()
    else:
        paths = photos.find_images(args.images)
    device = all_cores()
    weights = model.best_run(args.model) if args.model else args.weights or model.SHIPPED
    classify, description = model.load(weights)
    reader = Reader(classify, description, args.smallest, str(device))
    if moving:
        found = video.predict(args.images, args.fps, args.annotate, reader, args.out)
        read = f"{found.pop('frames')} frames"
    else:
        root = args.images if args.images.is_dir() else args.images.parent
        found = photos.predict(paths, root, reader, args.out)
        read = f"{found.pop('images')} images"
    print(f"{args.out / TABLE}: {found.pop('faces')} faces in {read}")
    found[f"faces below {args.smallest} pixels skipped"] = reader.skipped
    for what, number in found.items():
        if number:
            print(f"note: {number} {what}")
