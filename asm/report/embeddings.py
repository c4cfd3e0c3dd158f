"""Fig. 1 of the paper and Fig. 2 of its supplement: features in two dimensions (t-SNE)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D

from asm.basics.errors import InputError
from asm.report import drawing
from asm.report.glyphs import drawn

MARKERS = {"clean": "o", "ambiguous": "^", "noisy": "X"}


@dataclass(frozen=True)
class Embedding:
    """One cell's features: *_ids [n]; *_xy [n, 2]; labels [n] class ids; *_subset [n] codes, whose names are
    `subsets`, -1 where not mined."""

    test_ids: np.ndarray
    test_xy: np.ndarray
    test_true: np.ndarray
    test_predicted: np.ndarray
    test_subset: np.ndarray
    train_ids: np.ndarray
    train_xy: np.ndarray
    train_given: np.ndarray
    train_true: np.ndarray
    train_subset: np.ndarray
    classes: list[str]
    subsets: list[str]


def read_embedding(setting: dict[str, Any] | None, tsne_dir: Path) -> Embedding | None:
    """The embedding of the setting's first cell that has one; None when none has.

    Raises InputError naming the file when it lacks an array or its arrays do not fit together.
    """
    paths = [tsne_dir / f"{cell}.npz" for cell in (setting["cells"] if setting else [])]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        return None
    names = list(Embedding.__dataclass_fields__)
    try:
        with np.load(path) as stored:
            missing = [n for n in names if n not in stored]
            if missing:
                raise InputError(f"{path}: array {missing[0]!r} is missing; run the t-SNE stage again")
            arrays = {n: stored[n] for n in names}
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable npz file ({error}); run the t-SNE stage again") from error
    for name in names[:-2]:
        xy = arrays["test_xy" if name.startswith("test") else "train_xy"]
        expected = (len(xy), 2) if name.endswith("_xy") else (len(xy),)
        if arrays[name].shape != expected:
            found = arrays[name].shape
            raise InputError(
                f"{path}: {name} has shape {found}, expected {expected}; run the t-SNE stage again"
            )
    return Embedding(**arrays | {name: arrays[name].astype(str).tolist() for name in names[-2:]})


def _size(n: int) -> float:
    """Marker area in points² that keeps n points apart."""
    return float(np.clip(14000 / max(n, 1), 4, 20))


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(True)
    for spine in axes.spines.values():
        spine.set_color("#BBBBBB")


def _by_class(axes: Axes, xy: np.ndarray, label: np.ndarray, title: str) -> None:
    colours = np.array(drawing.COLOURS)[label % len(drawing.COLOURS)]
    axes.scatter(*xy.T, c=colours, s=_size(len(xy)), linewidths=0, alpha=0.85, rasterized=True)
    _bare(axes, title)


def _by_subset(axes: Axes, xy: np.ndarray, subset: np.ndarray, names: list[str], title: str) -> None:
    size = _size(len(xy))
    for code, name in enumerate(names):  # the rarer and more telling ones on top
        held = subset == code
        axes.scatter(
            *xy[held].T, c=drawing.SUBSET_COLOURS[name], marker=MARKERS[name], s=size * (1, 1.5, 2)[code],
            linewidths=0, alpha=(0.45, 0.9, 0.9)[code], rasterized=True, zorder=2 + code,
        )  # fmt: skip
    _bare(axes, title)


def _class_legend(figure: FigureBase, classes: list[str], rows: int) -> None:
    handles = [
        Line2D([], [], ls="", marker="o", ms=8, color=drawing.COLOURS[k % len(drawing.COLOURS)], label=name)
        for k, name in enumerate(drawn(classes))
    ]
    columns = -(-len(classes) // rows)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.2, handletextpad=0.2
    )


def subsets_figure(features: Embedding, noise: str) -> Figure:
    """Test and training samples, by expression on the left and by mined subset on the right.

    Black outlines mark the mining's errors: a wrong label outside the noisy subset, and a noisy sample whose
    given label is the true one.
    """
    figure = drawing.canvas(10, 10.9)
    left, right = figure.subfigures(1, 2, wspace=0.02)
    upper, lower = left.subplots(2, 1)
    _by_class(upper, features.test_xy, features.test_true, "Test samples by expression")
    _by_class(lower, features.train_xy, features.train_given, f"Training, by given label ({noise})")
    _class_legend(left, features.classes, rows=3)
    upper, lower = right.subplots(2, 1)
    _by_subset(upper, features.test_xy, features.test_subset, features.subsets, "Test samples by subset")
    _by_subset(lower, features.train_xy, features.train_subset, features.subsets, "Training, by subset")
    wrong = features.train_given != features.train_true
    noisy = features.train_subset == features.subsets.index("noisy")
    handles = [
        Line2D([], [], ls="", marker=MARKERS[s], ms=9, color=drawing.SUBSET_COLOURS[s], label=s)
        for s in features.subsets
    ]
    for marker, mistaken, label in (
        ("o", wrong & ~noisy, "wrong label, not noisy"),
        ("s", noisy & ~wrong, "noisy, label not wrong"),
    ):
        lower.scatter(
            *features.train_xy[mistaken].T, s=4 * _size(len(features.train_xy)), marker=marker,
            facecolors="none", edgecolors="black", linewidths=0.9, rasterized=True, zorder=6,
        )  # fmt: skip
        handles.append(Line2D([], [], ls="", marker=marker, ms=9, mfc="none", color="black", label=label))
    right.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure


def comparison_figure(baseline: Embedding, asm: Embedding) -> Figure:
    """Test samples under the baseline (a) and ASM (b), by expression."""
    figure = drawing.canvas(10, 5.7)
    left, right = figure.subplots(1, 2)
    _by_class(left, baseline.test_xy, baseline.test_true, "(a) Baseline")
    _by_class(right, asm.test_xy, asm.test_true, "(b) ASM")
    _class_legend(figure, asm.classes, rows=2)
    return figure
