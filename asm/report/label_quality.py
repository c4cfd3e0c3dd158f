"""Does "ambiguous" mean ambiguous, "noisy" wrong? ASM's rule beside its rivals.

A row is one run, that of the setting's first seed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from asm.report import names
from asm.report.layout import Table, frame_of
from asm.report.results import NONE, Results, Row
from asm.report.tables import unique
from asm.scores.schema import Hits, LabelQuality

RIVALS = {
    "entropy": "entropy",
    "margin": "margin",
    "loss": "loss",
    "normalized_margin": "normalized margin",
    "confidence_weighted_entropy": "confidence-weighted entropy",
}


def assessed(results: Results) -> Iterator[tuple[Row, LabelQuality, dict[str, str]]]:
    """Each setting with an assessment, that of its first run, and the column that tells it from the one of
    networks that were not trained on the images, which follows; without such a one, no column."""
    settings = results.rows(lambda r: r["regime"] == NONE)
    told_apart = any(row["out_of_sample"] for row in settings)
    for row in settings:
        own = next((s.label_quality for s in row["scores"] if s.label_quality), None)
        for quality, words in ((own, "in sample"), (row["out_of_sample"], "out of sample")):
            if quality is not None:
                yield row, quality, {"Predictions": words} if told_apart else {}


def table_found(results: Results) -> Table:
    """What the mining of ASM and of what is ours finds, where the truth is known; one run a row."""
    rows, anchors = [], []
    for row, quality, asked in assessed(results):
        info = results.grid.methods[row["method"]]
        if not (row["method"] == "asm" or info.ours) or row["rule"] != NONE:
            continue
        line: Row = names.row_labels(results.grid, row) | asked
        if wrong := quality.wrong:
            line |= {"wrong, %": f"{100 * wrong.share:.1f}"}
            line |= {"called noisy, %": f"{100 * wrong.subset.samples / wrong.samples:.1f}"}
            line |= {"of these wrong / of the wrong found, %": _precision_recall(wrong.subset)}
            line |= {"AUROC, wrong": _beside_best_rival(wrong.scores)}
        if known := quality.ambiguous:
            held = [known.by_subset[name] for name in names.SUBSETS]
            shares = (
                None if subset.ambiguous is None else f"{100 * subset.ambiguous:.0f}" for subset in held
            )
            line |= {"ambiguous among clean / ambiguous / noisy, %": _slashed(shares)}
            if known.truth == "votes":
                entropies = (_mean_entropy(subset.vote_entropy, subset.counts) for subset in held)
                line |= {"vote entropy of clean / ambiguous / noisy": _slashed(entropies)}
            line |= {"AUROC, ambiguous": _beside_best_rival(known.scores)}
        rows.append(line)
        anchors.append(f"found-{row['dataset']}-{row['noise']}")
    return Table("table_found", frame_of(rows), anchors=unique(anchors))


def _beside_best_rival(scores: dict[str, Any]) -> str:
    rival = max(RIVALS, key=lambda name: scores[name].auroc[0])
    return f"{scores['asm_depth'].auroc[0]:.3f}; {RIVALS[rival]} {scores[rival].auroc[0]:.3f}"


def _mean_entropy(values: list[float], counts: list[int]) -> str | None:
    return f"{np.average(values, weights=counts):.2f}" if counts else None


def _slashed(values: Iterator[str | None]) -> str:
    return " / ".join(value or "–" for value in values)


def _precision_recall(hits: Hits) -> str:
    precision = "–" if hits.precision is None else f"{100 * hits.precision:.1f}"
    return f"{precision} / {100 * hits.recall:.1f}"
