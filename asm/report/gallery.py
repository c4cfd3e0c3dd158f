"""Example faces of a run's subsets, as sheets for your own eyes: `python -m asm gallery RUN FACES OUT`.

Images of licensed data sets may not be passed on: keep OUT out of what you publish.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from asm.errors import InputError
from asm.faces import store
from asm.mining import CLEAN, NOISY, SUBSETS
from asm.report import drawing
from asm.report.glyphs import drawn
from asm.scores.label_quality import rule_of
from asm.scores.run import TRAIN, read_arrays, read_history, read_info, rows_of

COLUMNS, ROWS = 8, 5  # faces on a sheet
VOTED = 3  # expressions of the votes that a caption names


def write_sheets(run: Path, faces: Path, out: Path) -> list[Path]:
    """One png for each subset, drawn at random; where labels are wrong also one of wrong labels taken as
    clean, those of highest confidence, and one of true labels taken as noisy, those of lowest.

    Args:
        run: a run's folder.
        faces: the aligned data set that it was trained on.
        out: folder for the sheets; made if missing.

    Raises:
        InputError: the run is incomplete, or of other data.
    """
    aligned = store.load(faces)
    info, stored = read_info(run), read_arrays(run / TRAIN)
    probs, given, true = stored["probabilities"], stored["given"], stored["true"]
    rule = rule_of(info["config"], read_history(run), probs, given)
    rows = rows_of(aligned.manifest.assign(face_row=range(len(aligned.manifest))), stored["ids"], run)
    if list(aligned.classes) != info["classes"]:
        raise InputError(f"{faces}: its classes are not those of {run}; name the data set of that run")
    count = COLUMNS * ROWS
    rng = np.random.default_rng(0)
    sheets = {
        name: rng.permutation(np.flatnonzero(rule.subsets == code))[:count]
        for code, name in enumerate(SUBSETS)
    }
    wrong = given != true
    if wrong.any():
        rising = np.argsort(rule.confidence, kind="stable")
        falling = rising[::-1]
        sheets["clean_but_wrong"] = falling[((rule.subsets == CLEAN) & wrong)[falling]][:count]
        sheets["noisy_but_true"] = rising[((rule.subsets == NOISY) & ~wrong)[rising]][:count]
    out.mkdir(parents=True, exist_ok=True)
    captions = _captions(rows, given, true, probs, drawn(info["classes"]))
    written = []
    for name, chosen in sheets.items():
        if len(chosen):
            images = [aligned.faces[i] for i in rows["face_row"].to_numpy()[chosen]]
            title = f"{info['config']['cell']}: {name.replace('_', ' ')}"
            written.append(_sheet(images, [captions[i] for i in chosen], title, out / f"{name}.png"))
    return written


def _captions(
    rows: pd.DataFrame, given: np.ndarray, true: np.ndarray, probs: np.ndarray, classes: list[str]
) -> list[str]:
    """Given label (and the true one), prediction with its probability, and the votes of each sample."""
    columns = [c for c in rows if c.startswith("votes_")]
    votes = rows[columns].to_numpy() if columns else np.empty((len(rows), 0), int)
    captions = []
    for g, t, prob, vote in zip(given, true, probs, votes, strict=True):
        label = classes[g] if g == t else f"{classes[g]} (true: {classes[t]})"
        lines = [label, f"→ {classes[prob.argmax()]} {prob.max():.2f}"]
        if columns:
            most = np.argsort(-vote, kind="stable")[:VOTED]
            lines.append(", ".join(f"{columns[k][6:9]} {vote[k]}" for k in most if vote[k]))
        captions.append("\n".join(lines))
    return captions


def _sheet(images: list[np.ndarray], captions: list[str], title: str, path: Path) -> Path:
    with drawing.style():
        figure = drawing.canvas(1.7 * COLUMNS, 2.35 * -(-len(images) // COLUMNS) + 0.7)
        panels = figure.subplots(-(-len(images) // COLUMNS), COLUMNS, squeeze=False)
        figure.suptitle(f"{title}\ngiven label → prediction; most votes", fontsize=12)
        for axes in panels.flat:
            axes.axis("off")
        for axes, image, caption in zip(panels.flat, images, captions, strict=False):
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption, fontsize=8)
        figure.savefig(path, metadata={"Software": None})
    return path
