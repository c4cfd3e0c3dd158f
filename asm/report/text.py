"""Names and generated sentences of the report; every number in a sentence comes from the cells."""

from collections.abc import Callable, Iterable
from typing import Any

from asm.report.cells import CONTROL, ONE_SCHEDULE, PRINTED, DatasetInfo, Grid, Group, paper
from asm.report.estimates import estimate
from asm.report.glyphs import undrawable
from asm.scores.schema import NoiseKind, Scores

SCHEDULES = {"fair": "common", "published": "own paper's"}
PAPER_COLUMNS = {
    "rafdb": "paper: RAF-DB",
    "ferplus": "paper: FERPlus",
    "affectnet8": "paper: AffectNet (8 classes)",
    "affectnet7": "paper: AffectNet (7 classes)",
}
BEST = "best epoch (selected on test)"
PAPER_SETTING = {"backbone": "resnet18", "width": 64, "image_size": 224, "epochs": 100, "batch_size": 128}
RULES: dict[str, Callable[[Any], str]] = {  # how what a cell changes of ASM is printed, in this order
    "thresholds.confidence": lambda v: (
        "confidence of Eq. 3 as printed (max)" if v == "max" else f"by the {v}"
    ),
    "thresholds.noisy": lambda v: "T_n per other class" if v == "per_class" else "T_n = 1 − T_c",
    "thresholds.max_noisy": lambda v: f"at most {percent(v)} noisy per class",
    "thresholds.mine_above": lambda v: f"mining from T_c {v:g}",
    "thresholds.mine_from_gap": lambda v: f"mining from a gap of {v:g}",
    "thresholds.complement_from_gap": lambda v: f"T_n per other class up to a gap of {v:g}",
    "thresholds.calibrated": lambda v: "calibrated" if v else "as predicted",
    "thresholds.held_out": lambda v: f"{percent(v)} held out",
    "losses.lambda_max": lambda v: f"λ_max {v:g}",
    "losses.ramp_from": lambda v: f"λ from the start of {v}",
    "losses.beta": lambda v: f"β {v:g}",
    "losses.omega": lambda v: f"ω {v:g}",
    "losses.gamma": lambda v: f"γ {v:g}",
    "losses.drop_noisy": lambda v: "noisy samples dropped" if v else "noisy samples kept",
}


def reading_name(grid: Grid, method: str, changed: dict) -> str:
    """A method by default, or with Eq. 3 as printed."""
    return grid.title(method) + (", Eq. 3 as printed" if changed == PRINTED else "")


def in_order(methods: Iterable[str], first: Iterable[str] | None = None) -> list[str]:
    """`methods` once each: those of `first` (by default all that the paper compares) in its order, then the
    others as they come."""
    order = list(paper()["methods"] if first is None else first)
    found = dict.fromkeys(methods)
    return [m for m in order if m in found] + [m for m in found if m not in order]


def paper_column(info: DatasetInfo) -> str | None:
    """The key of the paper's column for a data set, None where it has none."""
    key = f"affectnet{info.classes}" if info.source == "affectnet" else info.source
    return key if key in PAPER_COLUMNS else None


def column_name(column: str) -> str:
    """A column of the paper in a sentence: "RAF-DB"."""
    return PAPER_COLUMNS[column].removeprefix("paper: ")


def setting(grid: Grid, init: str, schedule: str) -> dict[str, str]:
    """The columns that tell initial weights and schedules apart, where the grid has several."""
    columns = {"Weights": init} if len(grid.used_inits) > 1 else {}
    return columns | ({"Schedule": SCHEDULES[schedule]} if len(grid.schedules) > 1 else {})


def lead(grid: Grid, group: Group) -> dict[str, str]:
    """The first columns of a table with one row per group."""
    named = {"Data set": group.dataset, "Noise": noise_name(grid.noises[group.noise])}
    return named | {"Method": grid.title(group.method)} | setting(grid, group.init, group.schedule)


def place(grid: Grid, group: Group) -> str:
    """Data set, noise and, where the grid has several, weights and schedule, in a sentence."""
    noise = grid.noises[group.noise]
    label = noise_name(noise) if noise.kind == "original" else f"{noise_name(noise)} noise"
    return _listed([group.dataset, label, *setting(grid, group.init, group.schedule).values()])


def by_place(grid: Grid) -> list[Group]:
    """All groups by data set and noise, each place's methods in the paper's order; other regimes have a table
    of their own."""
    places = (list(grid.datasets), grid.ordered_noises, in_order(c.method for c in grid.cells))
    return sorted(
        [g for g in grid.groups() if not g.regime],
        key=lambda g: [p.index(v) for p, v in zip(places, (g.dataset, g.noise, g.method), strict=True)],
    )


def percent(rate: float) -> str:
    """A share as a percentage without needless digits: 0.3 -> "30 %"."""
    return f"{100 * rate:.4g} %"


def noise_name(noise: NoiseKind) -> str:
    """How a kind and rate of label noise is printed: "30 %", "asymmetric 20 %", "real labels"."""
    if noise.kind == "original":
        return "real labels"
    rate = "" if noise.rate is None else percent(noise.rate)
    return rate if noise.kind == "symmetric" and rate else f"{noise.kind} {rate}".strip()


def changed_name(changed: dict) -> str:
    """What a cell changes, readable: `{"losses.beta": 0.2}` -> "beta = 0.2"."""
    parts = []
    for key, value in sorted(changed.items()):
        shown = " + ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
        parts.append(f"{key.rsplit('.', 1)[-1]} = {shown}")
    return ", ".join(parts) or "default"


def rule_name(changed: dict[str, Any]) -> str:
    """What a cell changes of ASM, in the words of a table: "T_n per other class + λ_max 0"."""
    known = [name(changed[key]) for key, name in RULES.items() if key in changed]
    rest = {k: v for k, v in changed.items() if k not in RULES}
    return " + ".join(known + ([changed_name(rest)] if rest else []))


def control(grid: Grid) -> list[str]:
    """What the control is, if the grid has it."""
    if not any(cell.method == CONTROL for cell in grid.cells):
        return []
    return [
        f"{grid.title(CONTROL)}: cross-entropy on the given labels, averaged at test. No method of the "
        "paper: it tells what ASM owes to having two networks."
    ]


def done(grid: Grid) -> list[Scores]:
    """Scores of all evaluated cells."""
    return [cell.scores for cell in grid.cells if cell.scores is not None]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(v) for v in values)


def joined(values: list[str]) -> str:
    """["A", "B", "C"] -> "A, B and C"."""
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def common_schedule(grid: Grid) -> str:
    """Length and batch of the common schedule."""
    return f"{grid.epochs} epochs, {grid.warmup_epochs} of them warm-up, batch size {grid.batch_size}"


def schedule(grid: Grid) -> str:
    """Which schedule the methods were trained in."""
    common = common_schedule(grid)
    if grid.schedules == ["fair"]:
        return f"Every method in the common schedule: {common}."
    if grid.schedules == ["published"]:
        return (
            "Every method in the schedule of its own paper (params.yaml, published); where that names none, "
            f"as for ASM and the baseline, in the common one: {common}."
        )
    return (
        f"Schedule “{SCHEDULES['fair']}”: one for all methods, {common}; “{SCHEDULES['published']}”: that of "
        "the method's own paper (params.yaml, published), which for ASM and the baseline is the common one."
    )


def settings(grid: Grid, warn: bool = True) -> list[str]:
    """Sentences that every caption shares: data, backbone, training, seeds, versions, protocol, warnings."""
    evaluated = done(grid)
    counted = {d.dataset: len(d.classes) for d in evaluated}
    datasets = _listed(
        f"{name} ({counted.get(name, info.classes) or 'its own'} classes"
        f"{', rendered faces' if info.source == 'synthetic' else ''})"
        for name, info in grid.datasets.items()
    )
    seeds = _listed(sorted({cell.seed for cell in grid.cells}))
    lines = [
        f"Profile {grid.profile}; data: {datasets}.",
        _networks(grid),
        f"Common schedule: {common_schedule(grid)}; seeds: {seeds}; {len(evaluated)} of {len(grid.cells)} "
        "cells evaluated.",
    ]
    aligned = {d.dataset: d.faces for d in evaluated}
    lines += [
        f"Faces of {name}: {faces.images:,} images, {100 * faces.fallback_share:.1f} % of them without a "
        f"detected face (the whole frame is used); {faces.unreadable:,} more could not be read."
        for name, faces in aligned.items()
    ]
    averaged = _listed(sorted({d.test.averaged_epochs for d in evaluated})) or "5"
    lines.append(
        f"Accuracy in percent on the test set, mean of the last {averaged} epochs; over seeds: mean ± "
        "half-width of the 95 % confidence interval (Student t). One seed: the value alone, without an "
        "interval. Blank: not run."
    )
    versions = dict.fromkeys(tuple(sorted(d.versions.items())) for d in evaluated)
    lines += [f"Versions: {_listed(f'{k} {v}' for k, v in version)}." for version in versions if version]
    return lines + (warnings(grid) if warn else [])


def _networks(grid: Grid) -> str:
    kinds = {init: grid.inits[init].weights for init in grid.used_inits}
    weights = _listed(k if k == weights else f"{k} = {weights}" for k, weights in kinds.items())
    backbone = f"{grid.backbone} of width {grid.width}"
    images = f"images {grid.image_size} × {grid.image_size} px"
    if grid.input == "aligned":
        return f"Backbone: {backbone}, {images}; initial weights: {weights}."
    dropout = f" (dropout {grid.dropout:g})" if grid.dropout else ""
    return (
        f"Frozen backbone: {backbone}, {images}; weights: {weights}. Trained: heads of {grid.hidden} hidden "
        f"units{dropout} on its features, whose views are drawn from a bank."
    )


def warnings(grid: Grid) -> list[str]:
    """What keeps our numbers from being compared with the paper's in level."""
    used = {grid.inits[cell.init].weights for cell in grid.cells}
    lines = []
    if "synthetic" in used:
        lines.append(
            "Weights “synthetic” come from pre-training on the action units of rendered faces; this is NOT "
            "the analogue of the paper's pre-training on MS-Celeb-1M faces."
        )
    if "dlib" in used:
        lines.append(
            "Weights “dlib” are those of dlib's face-recognition network (CC0; 3 million faces of 7,485 "
            "people): the analogue of the paper's pre-training on MS-Celeb-1M, not those weights."
        )
    for weights, meaning in (("none", "random initial weights"), ("imagenet", "ImageNet pre-training")):
        if weights in used:
            lines.append(f"Weights “{weights}” are {meaning}; the paper starts from MS-Celeb-1M weights.")
    if any(info.source == "synthetic" for info in grid.datasets.values()):
        lines.append(
            "Synthetic faces are rendered: compare the methods with one another; the level of accuracy is "
            "not comparable with the paper's columns."
        )
    return lines


def real_labels(dataset: str, scores: Scores) -> str:
    """How many training images have another annotator's label, and how many of these differ."""
    noise = scores.noise
    sentence = (
        f"Real labels ({dataset}): {noise.train_images:,} training images have one, {noise.wrong:,} of "
        f"these ({100 * noise.realised:.1f} %) another than the votes' majority"
    )
    left_out = f"; {noise.excluded:,} images without one are left out" if noise.excluded else ""
    return f"{sentence}{left_out}."


def realised(grid: Grid, noises: Iterable[str | None] | None = None) -> list[str]:
    """The share of given labels that are wrong, per data set and noise; of all noises unless some are
    named."""
    wanted = set(grid.noises if noises is None else noises)
    lines = []
    for dataset in grid.datasets:
        parts = []
        for key in [n for n in grid.ordered_noises if n in wanted]:
            cells = [c.scores for c in grid.cells if (c.dataset, c.noise) == (dataset, key) and c.scores]
            share = estimate([d.noise.realised for d in cells])
            if share is not None and share.mean > 0:
                parts.append(f"{100 * share.mean:.1f} % for {noise_name(grid.noises[key])}")
        if parts:
            lines.append(f"Given labels that are wrong ({dataset}): {'; '.join(parts)}.")
    return lines


def shortcomings(grid: Grid) -> list[str]:
    """What these results do not show, from the cells."""
    lines = warnings(grid)
    for classes in dict.fromkeys(tuple(d.classes) for d in done(grid)):
        if unwritten := undrawable(classes):
            numbered = [f"{name} = class {classes.index(name) + 1}" for name in unwritten]
            lines.append(f"The figures' font cannot write some classes' names there: {_listed(numbered)}.")
    if grid.input == "features":
        lines.append(
            f"The backbone is frozen, heads of {grid.hidden} hidden units are trained on its features; the "
            "paper fine-tunes all layers."
        )
    ours = {key: getattr(grid, key) for key in PAPER_SETTING}
    if grid.backbone != PAPER_SETTING["backbone"]:
        del ours["width"]  # of another network
    differing = [
        f"{k.replace('_', ' ')} {v} ({PAPER_SETTING[k]})" for k, v in ours.items() if v != PAPER_SETTING[k]
    ]
    if differing:
        lines.append(
            f"Smaller than or different from the paper's setting (in brackets): {_listed(differing)}."
        )
    averaged = max((d.test.averaged_epochs for d in done(grid)), default=0)
    if averaged > grid.epochs / 2:
        lines.append(
            f"The mean of the last {averaged} of {grid.epochs} epochs covers most of the training: it "
            "favours methods that learn fast."
        )
    sources = {info.source for info in grid.datasets.values()}
    absent = [
        n
        for key, n in (("rafdb", "RAF-DB"), ("ferplus", "FERPlus"), ("affectnet", "AffectNet"))
        if key not in sources
    ]
    if absent:
        lines.append(f"Not run on the paper's {_listed(absent)}.")
    methods = {cell.method for cell in grid.cells}
    compared = dict.fromkeys([*paper_methods(), *paper()["methods"]])
    absent = [grid.title(m) for m in compared if m not in methods]
    if absent:
        lines.append(f"Compared in the paper, not part of this profile: {_listed(absent)}.")
    if methods - {*ONE_SCHEDULE, CONTROL}:
        lines.append(
            "The methods are re-implementations: where one departs from its paper or released code, "
            "`asm/methods/<method>.py` says so."
        )
        if "fair" in grid.schedules:
            lines.append(
                "The common schedule is ASM's: another method may do better in the one of its own paper."
            )
    told = [m for m in in_order(cell.method for cell in grid.cells) if grid.methods[m].told_noise_rate]
    if told:
        named = joined([grid.title(m) for m in told])
        lines.append(f"Told the noise rate of each cell, which the other methods are not: {named}.")
    rates = {n.rate for n in grid.noises.values() if n.kind == "symmetric"}
    absent = [percent(r) for r in paper_rates() if r not in rates]
    if absent:
        lines.append(f"Noise rates of the paper that are not part of this profile: {_listed(absent)}.")
    groups = grid.groups()
    single, double = (sum(len(g.done) == n for g in groups) for n in (1, 2))
    if single:
        lines.append(
            f"{single} of {len(groups)} settings rest on one seed: differences between them may be chance."
        )
    if double:
        lines.append(
            f"{double} of {len(groups)} settings rest on two seeds: their 95 % intervals are 12.7 standard "
            "errors wide to either side, so that only large differences stand out."
        )
    blank = [c.cell for c in grid.cells if c.scores is None]
    if blank:
        lines.append(f"Not evaluated, hence blank: {_listed(blank)}.")
    return lines


def paper_methods() -> list[str]:
    """The methods of the paper's Table 1, in its order."""
    return [key for key in paper()["table1"] if key != "protocol"]


def paper_rates() -> list[float]:
    """The noise rates of the paper's Table 1."""
    return list(paper()["table1"]["asm"])
