"""An audit from the data set, or a run, to its files."""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asm import datasets
from asm.basics.errors import InputError
from asm.basics.files import atomic_write, exclusive
from asm.basics.yaml import parse
from asm.faces import store
from asm.grid.params import Align, load_params
from asm.parts.device import all_cores
from asm.scores.run import project, read_info, rows_of
from asm.tools.audit import duplicates, ranking, review_page
from asm.tools.audit.judgement import by_folds, by_run
from asm.tools.audit.prepared import Faces, align, features

PARAMS = Path(__file__).with_name("params.yaml")  # a link to the one of the checkout; a copy where installed
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
        InputError: what `asm.datasets.load`, the alignment, the features or the training refuse; `out` lies
            in `root`.
    """
    if out.resolve().is_relative_to(root.resolve()):  # it would be read as images, and DVC would see a change
        raise InputError(f"audit: --out {out} lies in the data set's own folder; name one outside")
    params, cache = load_params(PARAMS), out / "cache"
    alignment = parse(Align, params.align.model_dump() | align_options, "audit: --align")
    dataset = datasets.load(source, root, **options)
    with exclusive(cache):
        device = all_cores()
        faces = align(dataset, alignment, cache, device)
        manifest, classes = faces.aligned.manifest, dataset.classes
        given = manifest["true"].to_numpy(dtype=np.int64)
        bank = features(faces.aligned, params, cache, device)
        judged, made_by = by_folds(bank, given, params, folds, cache / "training", device)
    counts = np.bincount(given, minlength=len(classes))
    remarks = [
        f"{name} has {n} faces; {folds} folds need {folds}: its labels are not judged and come last"
        for name, n in zip(classes, counts, strict=True)
        if n < folds
    ]
    remarks += [
        f"the classes {name} and {other} are spelt alike: are they one?"
        for k, name in enumerate(classes)
        for other in difflib.get_close_matches(name, classes[k + 1 :], n=3, cutoff=0.8)
    ]
    share = (manifest["face"] == "fallback").mean()
    if share > MANY_WITHOUT_FACE:
        remarks.append(
            f"no face was found in {share:.0%} of the images; in small or tight crops --align pad=0.25 "
            "upscale=2 finds more, and faces that are aligned already need --align detect=false"
        )
    done = _write(root.name, judged, made_by, faces, folds, remarks, out)
    shutil.rmtree(cache / "training")
    return done


def of_run(run: Path, out: Path) -> Done:
    """Audit the training labels of a trained cell by its own probabilities.

    Raises:
        InputError: the run is incomplete, or its aligned faces are not there.
    """
    info = read_info(run)
    config = info["config"]
    judged, made_by = by_run(run, config)
    aligned = store.load(project(run) / "data" / "aligned" / config["dataset"])
    if info["classes"] != list(aligned.classes):
        raise InputError(
            f"{run}: of the classes {', '.join(info['classes'])}, but its data set now has "
            f"{', '.join(aligned.classes)}: train this cell again"
        )
    return _write(config["cell"], judged, made_by, Faces(aligned, {}, {}, {}), 0, [], out)


def measured() -> str:
    """What the ranking is worth, in words: the figures of benchmarks/audit.py."""
    found = json.loads(Path(__file__).with_name("measured.json").read_text(encoding="utf-8"))
    wrong, ambiguous = found["out_of_sample"]["wrong"], found["out_of_sample"]["ambiguous"]

    def areas(scores: dict[str, dict], **names: str) -> str:
        return ", ".join(f"{scores[name]['auroc'][0]:.3f} by {words}" for name, words in names.items())

    by = areas(wrong, asm_depth="the threshold", loss="the loss", normalized_margin="cleanlab's margin")
    close = areas(ambiguous, entropy="the entropy", margin="the margin", asm_subset="ASM's subset")
    return (
        f"Measured on {found['faces']:,} faces with FER2013's own labels, {found['wrong']:.1%} of them wrong "
        f"by FER+'s ten votes: AUROC of wrong labels {by}; {wrong['asm_depth']['first_1000'][0]:.0f} of the "
        f"first 1,000 are wrong. AUROC of close votes {close}."
    )


def _write(
    name: str,
    judged: dict[str, np.ndarray],
    made_by: str,
    faces: Faces,
    folds: int,
    remarks: list[str],
    out: Path,
) -> Done:
    classes, found = list(faces.aligned.classes), duplicates.find(faces.aligned)
    rows = rows_of(faces.aligned.manifest, judged["ids"], Path(name))
    table, score = ranking.table(judged, rows, classes, folds)
    table["note"] = list(_notes(table, rows["face"], faces.others, set(found["id"])))
    with atomic_write(out / "audit.csv") as path:
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    noisy = int((table["subset"] == "noisy").sum())
    summary = f"{len(table)} faces, {len(classes)} classes: {noisy} labels are noisy by ASM's rule"
    if "cleanlab_issue" in table:
        summary += f", {int(table['cleanlab_issue'].sum())} wrong by cleanlab's"
    findings = _findings(faces, found)
    summary += "".join(f"; {len(lines)} {heading}" for heading, lines in findings if lines)
    how = {
        ranking.WRONG: "how far the probability of the given label lies below ASM's threshold of its class",
        ranking.WITHOUT_THRESHOLDS: "the loss of the given label (ASM's thresholds are too low to rank by)",
    }
    about = (
        f"Probabilities: {made_by}. Labels are ranked by {how[score]}, ambiguous faces by the "
        f"entropy of their probabilities. {measured()} " + " ".join(f"Note: {line}." for line in remarks)
    )
    review_page.write(out, table, faces.aligned, findings, f"Audit of {name}", summary, about)
    return Done(table, summary, remarks)


def _notes(table: pd.DataFrame, face: pd.Series, others: dict[str, int], twins: set[str]) -> Iterable[str]:
    """What else is to be known of each face, in words."""
    for name, judged in zip(table["id"], table["judged"], strict=True):
        said = [
            "its class is too small to be judged" if not judged else "",
            "no face found: the whole image" if face[name] == "fallback" else "",
            f"{others[name]} more face(s) in the image" if name in others else "",
            "(nearly) the same image occurs again" if name in twins else "",
        ]
        yield ", ".join(text for text in said if text)


def _findings(faces: Faces, found: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Headings and lines of what is amiss beside the labels."""
    across, disagreeing, within = [], [], []
    classes, manifest = faces.aligned.classes, faces.aligned.manifest
    for _, group in found.groupby("group"):
        kind = "the same" if group["exact"].all() else "nearly the same"
        members = (f"{row.id} ({row.split}, {classes[row.true]})" for row in group.itertuples(index=False))
        lines = within if group["true"].nunique() == 1 else disagreeing
        (across if group["split"].nunique() > 1 else lines).append(f"{kind}: " + " = ".join(members))
    return [
        ("groups of duplicates across splits", across),
        ("groups of duplicates with different labels", disagreeing),
        ("groups of other duplicates", within),
        ("files left out", [f"{name}: {reason}" for name, reason in faces.left_out.items()]),
        ("unreadable images", [f"{name}: {reason}" for name, reason in faces.unreadable.items()]),
        ("images without a face", manifest["id"][manifest["face"] == "fallback"].tolist()),
        ("images with several faces", [f"{name}: {1 + n}" for name, n in faces.others.items()]),
    ]
