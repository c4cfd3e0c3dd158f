"""An audit from the data set, or a run, to its files."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asm import datasets
from asm.basics.code import ROOT
from asm.basics.errors import InputError
from asm.basics.files import whole
from asm.basics.yaml import parse
from asm.faces import store
from asm.grid.params import Align, load_params
from asm.parts.device import all_cores
from asm.scores.run import project, rows_of
from asm.tools.audit import duplicates, page, ranking
from asm.tools.audit.faces import Faces, align, features
from asm.tools.audit.judgement import Judgement, by_folds, by_run

MANY_WITHOUT_FACE = 0.2  # share of images from which another alignment is worth a try


@dataclass(frozen=True)
class Done:
    """A finished audit: its table, one line that sums it up, and what the user should know."""

    table: pd.DataFrame
    summary: str
    remarks: list[str]


def of_data(
    root: Path, source: str, options: dict[str, Any], align_options: dict[str, Any], folds: int, out: Path
) -> Done:
    """Audit all labels of a data set, whatever their split, out of sample.

    Raises:
        InputError: what `asm.datasets.load`, the alignment, the features or the training refuse.
    """
    params = load_params(ROOT / "params.yaml")
    alignment = parse(Align, params.align.model_dump() | align_options, "audit: --align")
    dataset = datasets.load(source, root, **options)
    device = all_cores()
    cache = out / "cache"
    faces = align(dataset, source, alignment, cache, device)
    classes, found = list(dataset.classes), duplicates.find(faces.aligned)
    bank = features(faces, params, cache, device)
    given = faces.aligned.manifest["true"].to_numpy(dtype=np.int64)
    judgement = by_folds(bank, given, params, folds, cache / "training", device)
    remarks = _small_classes(given, classes, folds) + _alike(classes)
    share = (faces.aligned.manifest["face"] == "fallback").mean()
    if share > MANY_WITHOUT_FACE:
        remarks.append(
            f"no face was found in {share:.0%} of the images; in small or tight crops --align pad=0.25 "
            "upscale=2 finds more, and faces that are aligned already need --align detect=false"
        )
    return _write(root.name, judgement, faces, classes, found, folds, remarks, out)


def of_run(run: Path, out: Path) -> Done:
    """Audit the training labels of a trained cell by its own probabilities.

    Raises:
        InputError: the run is incomplete, or its aligned faces are not there.
    """
    judgement = by_run(run)
    aligned = store.load(project(run) / "data" / "aligned" / judgement.config["dataset"])
    classes = list(aligned.classes)
    if judgement.probabilities.shape[1] != len(classes):
        raise InputError(
            f"{run}: {judgement.probabilities.shape[1]} classes, but its data set has {len(classes)}: "
            "train this cell again"
        )
    faces = Faces(aligned, {}, {}, {}, "")
    found = duplicates.find(aligned)
    return _write(judgement.config["cell"], judgement, faces, classes, found, 0, [], out)


def measured() -> str:
    """What the ranking is worth, in words: the figures of benchmarks/audit.py."""
    found = json.loads(Path(__file__).with_name("measured.json").read_text(encoding="utf-8"))
    wrong, ambiguous = found["out_of_sample"]["wrong"], found["out_of_sample"]["ambiguous"]

    def areas(scores: dict[str, dict], names: dict[str, str]) -> str:
        return ", ".join(f"{scores[name]['auroc'][0]:.3f} by {words}" for name, words in names.items())

    return (
        f"Measured on {found['faces']:,} faces with FER2013's own labels, {found['wrong']:.1%} of them wrong "
        "by FER+'s ten votes: AUROC of wrong labels "
        + areas(
            wrong,
            {"asm_depth": "the threshold", "loss": "the loss", "normalized_margin": "cleanlab's margin"},
        )
        + f"; {wrong['asm_depth']['first_1000'][0]:.0f} of the first 1,000 are wrong. AUROC of close votes "
        + areas(ambiguous, {"entropy": "the entropy", "margin": "the margin", "asm_subset": "ASM's subset"})
        + "."
    )


def _write(
    name: str,
    judgement: Judgement,
    faces: Faces,
    classes: list[str],
    found: pd.DataFrame,
    folds: int,
    remarks: list[str],
    out: Path,
) -> Done:
    rows = rows_of(faces.aligned.manifest, np.array(judgement.ids, dtype=object), Path(name))
    table, score = ranking.table(judgement, rows, classes, folds)
    table["note"] = list(_notes(table, rows["face"], faces.others, found))
    with whole(out / "audit.csv") as path:
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    noisy = int((table["subset"] == "noisy").sum())
    summary = f"{len(table)} faces, {len(classes)} classes: {noisy} labels are noisy by ASM's rule"
    if "cleanlab_issue" in table:
        summary += f", {int(table['cleanlab_issue'].sum())} wrong by cleanlab's"
    findings = _findings(faces, found, classes)
    summary += "".join(f"; {len(lines)} {heading}" for heading, lines in findings if lines)
    how = {
        ranking.WRONG: "how far the probability of the given label lies below ASM's threshold of its class",
        ranking.WITHOUT_THRESHOLDS: "the loss of the given label (ASM's thresholds are too low to rank by)",
    }
    about = (
        f"Probabilities: {judgement.made_by}. Labels are ranked by {how[score]}, ambiguous faces by the "
        f"entropy of their probabilities. {measured()} " + " ".join(f"Note: {line}." for line in remarks)
    )
    page.write(out, table, classes, faces.aligned, findings, f"Audit of {name}", summary, about)
    return Done(table, summary, remarks)


def _notes(
    table: pd.DataFrame, face: pd.Series, others: dict[str, int], found: pd.DataFrame
) -> Iterable[str]:
    """What else is to be known of each face, in words."""
    twins = set(found["id"])
    for name, judged in zip(table["id"], table["judged"], strict=True):
        said = [
            "its class is too small to be judged" if not judged else "",
            "no face found: the whole image" if face[name] == "fallback" else "",
            f"{others[name]} more face(s) in the image" if name in others else "",
            "(nearly) the same image occurs again" if name in twins else "",
        ]
        yield ", ".join(text for text in said if text)


def _findings(faces: Faces, found: pd.DataFrame, classes: list[str]) -> list[tuple[str, list[str]]]:
    """Headings and lines of what is amiss beside the labels."""
    across, disagreeing, within = [], [], []
    for _, group in found.groupby("group"):
        kind = "the same" if group["exact"].all() else "nearly the same"
        members = [f"{row.id} ({row.split}, {classes[row.true]})" for row in group.itertuples(index=False)]
        line = f"{kind}: " + " = ".join(members)
        if group["split"].nunique() > 1:
            across.append(line)
        elif group["true"].nunique() > 1:
            disagreeing.append(line)
        else:
            within.append(line)
    manifest = faces.aligned.manifest
    return [
        ("groups of duplicates across splits", across),
        ("groups of duplicates with different labels", disagreeing),
        ("groups of other duplicates", within),
        ("files left out", [f"{name}: {reason}" for name, reason in faces.left_out.items()]),
        ("unreadable images", [f"{name}: {reason}" for name, reason in faces.unreadable.items()]),
        ("images without a face", manifest["id"][manifest["face"] == "fallback"].tolist()),
        ("images with several faces", [f"{name}: {1 + n}" for name, n in faces.others.items()]),
    ]


def _small_classes(given: np.ndarray, classes: list[str], folds: int) -> list[str]:
    counts = np.bincount(given, minlength=len(classes))
    return [
        f"{name} has {n} faces; {folds} folds need {folds}: its labels are not judged and come last"
        for name, n in zip(classes, counts, strict=True)
        if n < folds
    ]


def _alike(classes: list[str]) -> list[str]:
    """Class names that may be one name, misspelt."""
    pairs = []
    for k, name in enumerate(classes):
        for other in difflib.get_close_matches(name, classes[k + 1 :], n=3, cutoff=0.8):
            pairs.append(f"the classes {name} and {other} are spelt alike: are they one?")
    return pairs
