"""How well an audit finds wrong labels and ambiguous faces: FER2013's own labels, out of sample, against the
ten votes of FER+.

Needs the profile's aligned faces, features and labels of `real` noise (`make repro PROFILE=ferplus` so far):

    python benchmarks/audit.py profiles/ferplus
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from sklearn.metrics import average_precision_score

from asm.basics.code import ROOT
from asm.grid.params import load_params
from asm.parts import bank
from asm.parts.batches import cell_data
from asm.parts.device import all_cores
from asm.scores import label_quality
from asm.scores.run import rows_of
from asm.tools.audit import judgement
from asm.training.folds import FOLDS, out_of_sample

DATASET, NOISE = "ferplus7", "real"
FIRST = (100, 1000, 5000)
RESAMPLES = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", type=Path)
    parser.add_argument("--work", type=Path, default=Path("checkpoints", "audit"))
    parser.add_argument("--out", type=Path, default=ROOT / "asm" / "audit" / "measured.json")
    args = parser.parse_args()
    device, data = all_cores(), args.profile / "data"
    features = bank.load(data / "features" / DATASET)
    labels = pd.read_csv(data / "labels" / f"{DATASET}_{NOISE}" / "labels.csv", dtype={"id": str})
    samples = cell_data(features, labels)
    given, true = samples.train.labels.numpy().copy(), samples.true
    config = judgement.configuration(load_params(ROOT / "params.yaml"), len(given))
    rows = rows_of(features.manifest, np.array(samples.train.ids, dtype=object), args.profile)
    votes = np.sort(rows[[c for c in rows if c.startswith("votes_")]].to_numpy(), axis=1)
    close = votes[:, -1] - votes[:, -2] <= label_quality.VOTES_APART
    found = {"faces": len(given), "wrong": float((given != true).mean()), "ambiguous": float(close.mean())}
    for name, learnt in (("out_of_sample", given), ("learnt_from_true_labels", true)):
        samples.train.labels.copy_(torch.from_numpy(learnt))
        print(f"{name} ...", flush=True)
        named = config.model_copy(update={"cell": f"audit, {name}"})
        with contextlib.redirect_stdout(io.StringIO()):
            probs = out_of_sample(named, samples, None, args.work / name, device, FOLDS)["probabilities"]
        found[name] = _judge(probs, given, given != true, close)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(found[name], indent=1), flush=True)


def _judge(probs: np.ndarray, given: np.ndarray, wrong: np.ndarray, close: np.ndarray) -> dict:
    rule = label_quality.paper_rule(probs, given)
    rivals = label_quality.rivals(probs, given)
    issues = find_label_issues(given, probs, return_indices_ranked_by="normalized_margin", n_jobs=1)
    return {
        "wrong": {
            name: _measured(score, wrong)
            for name, score in (label_quality.wrong_label_scores(rule) | rivals).items()
        },
        "ambiguous": {
            name: _measured(score, close)
            for name, score in (label_quality.ambiguity_scores(rule) | rivals).items()
        },
        "find_label_issues": {
            "issues": len(issues),
            "precision": float(wrong[issues].mean()),
            **{f"first_{n}": int(wrong[issues[:n]].sum()) for n in FIRST},
        },
        "accuracy": float((probs.argmax(1) == np.where(wrong, -1, given)).sum() / (~wrong).sum()),
    }


def _measured(score: np.ndarray, known: np.ndarray) -> dict:
    """AUROC, average precision and hits among the first, each with its 95 % bootstrap interval."""

    def measures(rows: np.ndarray) -> list[float]:
        s, k = score[rows], known[rows]
        order = np.argsort(-s, kind="stable")
        area = label_quality.Ranking(s).auroc(k.astype(np.uint8), (~k).astype(np.uint8))
        return [area, average_precision_score(k, s), *(float(k[order[:n]].sum()) for n in FIRST)]

    rng, count = np.random.default_rng(0), len(score)
    values = measures(np.arange(count))
    drawn = np.array([measures(rng.integers(count, size=count)) for _ in range(RESAMPLES)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    names = ("auroc", "average_precision", *(f"first_{n}" for n in FIRST))
    return {
        name: [round(float(v), 4), round(float(a), 4), round(float(b), 4)]
        for name, v, a, b in zip(names, values, low, high, strict=True)
    }


if __name__ == "__main__":
    main()
