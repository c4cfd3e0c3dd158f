"""Does "ambiguous" mean ambiguous, "noisy" wrong? ASM's rule beside its rivals, in full.

A row is one run, that of the setting's first seed; an interval is over its training images, not over seeds.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from asm.report import names
from asm.report.layout import Table, frame_of
from asm.report.results import Results
from asm.scores.schema import AmbiguousFaces, Hits, LabelQuality, Measured

FOLDS = 5  # asm.training.folds
RIVALS = {
    "entropy": "entropy",
    "margin": "margin",
    "loss": "loss",
    "normalized_margin": "normalized margin",
    "confidence_weighted_entropy": "confidence-weighted entropy",
}
NOTES = [
    "The rule of Eq. 1–6 is applied to the run's own mean probabilities after its last epoch, and so are "
    "the rivals; for the baseline, which does not mine, it shows what the rule makes of a network trained "
    "without it. The last two rivals are cleanlab's; its third score ranks as the loss does.",
    "One run each, the first seed's, on the images that it was trained on; in brackets the 95 % bootstrap "
    "interval over these images.",
]
TRUTHS = {
    "votes": "Ambiguous by the annotators' votes: the two entries with most votes are at most two votes "
    "apart; of all ten votes, “unknown” and “no face” included.",
    "blends": "Ambiguous by construction: rendered blends of two expressions.",
}


def assessed(results: Results) -> Iterator[tuple[dict[str, Any], LabelQuality, dict[str, str]]]:
    """Each setting with an assessment, that of its first run, and the column that tells it from the one of
    networks that were not trained on the images, which follows; without such a one, no column."""
    settings = results.rows(lambda r: r["regime"] == "{}")
    told_apart = any(row["out_of_sample"] for row in settings)
    for row in settings:
        own = next((s.label_quality for s in row["scores"] if s.label_quality), None)
        for quality, words in ((own, "in sample"), (row["out_of_sample"], "out of sample")):
            if quality is not None:
                yield row, quality, {"Predictions": words} if told_apart else {}


def out_of_sample_note(results: Results) -> list[str]:
    """What the words of that column mean, where it is there."""
    if not any(column for _, _, column in assessed(results)):
        return []
    return [
        f"Out of sample: by networks trained in {FOLDS} folds, each image predicted by those that were not "
        "trained on it; the rule's thresholds are computed from these predictions."
    ]


def table_subsets(results: Results) -> Table:
    """How ambiguous the images of each of ASM's subsets are."""
    rows = []
    for row, quality, asked in assessed(results):
        if (known := quality.ambiguous) is None:
            continue
        line = names.lead(results.grid, row) | asked | {"all: ambiguous %": 100 * known.share}
        total = sum(held.samples for held in known.by_subset.values())
        for name in names.SUBSETS:
            held = known.by_subset[name]
            line[f"{name}: samples %"] = 100 * held.samples / total
            line[f"{name}: ambiguous %"] = None if held.ambiguous is None else 100 * held.ambiguous
            if known.truth == "votes":
                line[f"{name}: vote entropy"] = mean_entropy(known, name)
        rows.append(line | {"ambiguous subset: recall %": 100 * known.subset.recall})
    notes = [*_truths(results), "Vote entropy: mean over the subset's images, in nats."]
    notes += out_of_sample_note(results)
    return Table("table_subsets", "Does “ambiguous” mean ambiguous? The subsets", frame_of(rows), notes)


def table_ambiguous(results: Results) -> Table:
    """AUROC and rank correlation of ASM's scores and its rivals with known ambiguity."""
    rows = []
    scored = {"asm_subset": "ASM, in the subset", "asm_depth": "ASM, depth in the band"} | RIVALS
    for row, quality, asked in assessed(results):
        if (known := quality.ambiguous) is None:
            continue
        lead = names.lead(results.grid, row) | asked
        measured = {"AUROC": "auroc"}
        measured |= {"rank correlation with the vote entropy": "spearman"} if known.truth == "votes" else {}
        for measure, key in measured.items():
            values = {n: _interval(getattr(known.scores[k], key)) for k, n in scored.items()}
            rows.append(lead | {"Measure": measure} | values)
    notes = [*_truths(results), *NOTES, *out_of_sample_note(results)]
    return Table("table_ambiguous", "Does “ambiguous” mean ambiguous? The rivals", frame_of(rows), notes)


def table_wrong(results: Results) -> Table:
    """AUROC of ASM's scores and its rivals for wrong labels."""
    scored = {"asm_subset": "ASM, in the subset", "asm_depth": "ASM, depth below T_n"} | RIVALS
    rows = [
        names.lead(results.grid, row)
        | asked
        | {"wrong labels %": 100 * known.share}
        | {name: _interval(known.scores[key].auroc) for key, name in scored.items()}
        for row, quality, asked in assessed(results)
        if (known := quality.wrong)
    ]
    notes = ["AUROC for the labels that are not the true ones (real labels: the votes' majority).", *NOTES]
    notes += out_of_sample_note(results)
    return Table("table_wrong", "Does “noisy” mean wrong? The rivals", frame_of(rows), notes)


def table_wrong_sets(results: Results) -> Table:
    """Precision and recall of ASM's noisy subset, of as many samples by each rival, of cleanlab's list."""
    rows = []
    for row, quality, asked in assessed(results):
        if (known := quality.wrong) is None:
            continue
        line = {"wrong labels": round(known.share * known.samples), "noisy": known.subset.samples}
        line |= {"ASM": _precision_recall(known.subset)}
        line |= {name: _precision_recall(known.scores[key].at_asm_size) for key, name in RIVALS.items()}
        if known.cleanlab is not None:
            listed = {
                "cleanlab's list": known.cleanlab.samples,
                "its P / R": _precision_recall(known.cleanlab),
            }
            line |= listed
        rows.append(names.lead(results.grid, row) | asked | line)
    notes = [
        "Precision / recall in percent: of ASM's noisy subset; of as many samples, those that each rival "
        "ranks highest; and of the list that cleanlab's find_label_issues makes, of its own size. It "
        "expects probabilities of networks that have not seen a sample's label; those in sample have.",
        *out_of_sample_note(results),
    ]
    return Table("table_wrong_sets", "Does “noisy” mean wrong? Precision / recall", frame_of(rows), notes)


def mean_entropy(known: AmbiguousFaces, subset: str) -> float | None:
    """Mean entropy of the votes in one subset, nats; None for an empty one."""
    held = known.by_subset[subset]
    return float(np.average(held.vote_entropy, weights=held.counts)) if held.samples else None


def _interval(measured: Measured | None) -> str | None:
    if measured is None or measured[0] is None:
        return None
    value, low, high = measured
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _precision_recall(hits: Hits) -> str:
    precision = "–" if hits.precision is None else f"{100 * hits.precision:.1f}"
    return f"{precision} / {100 * hits.recall:.1f}"


def _truths(results: Results) -> list[str]:
    kinds = {quality.ambiguous.truth for _, quality, _ in assessed(results) if quality.ambiguous}
    return [TRUTHS[kind] for kind in sorted(kinds)]
