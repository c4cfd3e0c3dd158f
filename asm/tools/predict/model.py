"""Which model reads the faces: a file, a run, a profile's best run, or the one that is in the package."""

from __future__ import annotations

from pathlib import Path

from asm.basics.errors import InputError
from asm.scores.run import read_history
from asm.tools.export import classifier, formats
from asm.tools.export.classifier import Description
from asm.tools.export.formats import Predictor

SHIPPED = Path(__file__).with_name("ferplus.safetensors")
MEASURES = ("valid_accuracy", "valid_mean_class_accuracy")


def load(weights: Path) -> tuple[Predictor, Description]:
    """Of a run's folder, or of a file that `export` wrote."""
    if not weights.is_dir():
        return formats.read(weights)
    module = classifier.from_run(weights)
    return formats.predictor(module), module.description


def best_run(profile: Path) -> Path:
    """The run with the highest sum of accuracy and mean class accuracy on validation images after its last
    epoch, among those that can be exported; the test images choose nothing.

    Raises:
        InputError: no run of `profile`, a folder or the name of one below profiles/, has such images.
    """
    folder = profile if (profile / "runs").is_dir() else Path("profiles") / profile
    found = {}
    for info in sorted(folder.glob("runs/*/run.json")):
        last = read_history(info.parent).iloc[-1]
        if classifier.exportable(info.parent) and set(MEASURES) <= set(last.index):
            found[info.parent] = [float(last[name]) for name in MEASURES]
    if not found:
        raise InputError(
            f"{folder / 'runs'}: no finished run that can be exported and has validation images, by which "
            "the best is chosen; name one with --weights"
        )
    run = max(found, key=lambda each: sum(found[each]))
    accuracy, mean = (100 * value for value in found[run])
    print(
        f"model: {run}, the best of {len(found)} on validation images: accuracy {accuracy:.1f} %, "
        f"mean class accuracy {mean:.1f} %"
    )
    return run
