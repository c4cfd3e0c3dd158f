"""t-SNE (van der Maaten and Hinton, 2008) of a run's stored features."""

from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from asm.basics.files import atomic_write
from asm.mining import SUBSETS
from asm.scores.run import FEATURES, TEST, TRAIN, read_arrays, read_info


def embed(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features [N, D] -> coordinates float32 [N, 2]; perplexity 30, or less where N is small.

    A single sample, and features that are all the same (a collapsed network), lie at the origin: the
    initialisation would divide by their spread.
    """
    if np.ptp(features, axis=0).max() < 1e-12:
        return np.zeros((len(features), 2), np.float32)
    perplexity = min(30, max((len(features) - 1) / 3, 1))
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    # one thread: the sums' order, and so the picture, must not depend on the number of cores; n_jobs alone
    # leaves the gradient on all of them, which is also slower wherever another process runs
    with threadpool_limits(1):
        return tsne.fit_transform(features).astype(np.float32)


def embed_run(run: Path, out: Path) -> None:
    """Write coordinates, labels and subsets of a run's test samples and a sample of its training ones.

    Args:
        run: the folder that training wrote.
        out: npz with test_ids, test_xy, test_true, test_predicted, test_subset, train_ids, train_xy,
            train_given, train_true, train_subset (codes, -1 for a method that does not mine), and the names
            of the `classes` and of the codes (`subsets`).

    Raises:
        InputError: a file of the run is missing or truncated; the disk is full or not writable.
    """
    features, test, train = (read_arrays(run / name) for name in (FEATURES, TEST, TRAIN))
    rows, subsets = features["train_rows"], train["subsets"]
    test_subset = features["test_subset"]
    arrays = {
        "test_ids": test["ids"],
        "test_xy": embed(features["test"]),
        "test_true": test["true"],
        "test_predicted": test["probabilities"][-1].mean(0).argmax(1),
        "test_subset": test_subset if len(test_subset) else np.full(len(features["test"]), -1, np.int8),
        "train_ids": train["ids"][rows],
        "train_xy": embed(features["train"]),
        "train_given": train["given"][rows],
        "train_true": train["true"][rows],
        "train_subset": subsets[-1][rows] if len(subsets) else np.full(len(rows), -1, np.int8),
        "classes": np.array(read_info(run)["classes"]),
        "subsets": np.array(SUBSETS),
    }
    with atomic_write(out) as path:
        np.savez_compressed(path, **arrays)
