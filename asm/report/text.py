"""Names and generated sentences of the report; every number in a sentence comes from the cells."""

from asm.report.cells import Details, Estimate, Grid, Group, Noise, estimate, paper

METHOD_NAMES = {
    "baseline": "Baseline",
    "ipa2lt": "IPA2LT",
    "ran": "RAN",
    "scn": "SCN",
    "dacl": "DACL",
    "rul": "RUL",
    "eac": "EAC",
    "asm": "ASM",
}
PAPER_COLUMNS = {
    "rafdb": "paper: RAF-DB",
    "ferplus": "paper: FERPlus",
    "affectnet8": "paper: AffectNet (8 classes)",
    "affectnet7": "paper: AffectNet (7 classes)",
}
BEST = "best epoch (selected on test)"
PAPER_SETTING = {"width": 64, "image_size": 224, "epochs": 100, "batch_size": 128}


def method_name(method: str) -> str:
    """How a method is printed."""
    return METHOD_NAMES.get(method, method.upper())


def percent(rate: float) -> str:
    """A share as a percentage without needless digits: 0.3 -> "30 %"."""
    return f"{100 * rate:.4g} %"


def noise_name(noise: Noise) -> str:
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


def done(grid: Grid) -> list[Details]:
    """Details of all evaluated cells."""
    return [cell.details for cell in grid.cells if cell.details is not None]


def _listed(values: object) -> str:
    return ", ".join(str(v) for v in values)


def settings(grid: Grid, warn: bool = True) -> list[str]:
    """Sentences that every caption shares: data, backbone, training, seeds, versions, protocol, warnings."""
    evaluated = done(grid)
    counted = {d.dataset: len(d.classes) for d in evaluated}
    datasets = _listed(
        f"{name} ({counted.get(name, info.classes) or 'its own'} classes"
        f"{', rendered faces' if info.source == 'synthetic' else ''})"
        for name, info in grid.datasets.items()
    )
    used = dict.fromkeys(cell.init for cell in grid.cells)
    weights = _listed(f"{init} = {grid.inits[init].weights}" for init in used)
    seeds = _listed(sorted({cell.seed for cell in grid.cells}))
    lines = [
        f"Profile {grid.profile}; data: {datasets}.",
        f"Backbone: ResNet-18 of width {grid.width}, images {grid.image_size} × {grid.image_size} px; "
        f"initial weights: {weights}.",
        f"{grid.epochs} epochs, {grid.warmup_epochs} of them warm-up, batch size {grid.batch_size}; "
        f"seeds: {seeds}; {len(evaluated)} of {len(grid.cells)} cells evaluated.",
    ]
    aligned = {d.dataset: d.faces for d in evaluated if d.faces}
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


def warnings(grid: Grid) -> list[str]:
    """What keeps our numbers from being compared with the paper's in level."""
    used = {grid.inits[cell.init].weights for cell in grid.cells}
    lines = []
    if "synthetic" in used:
        lines.append(
            "Weights “synthetic” come from pre-training on the action units of rendered faces; this is NOT "
            "the analogue of the paper's pre-training on MS-Celeb-1M faces."
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


def realised(grid: Grid) -> list[str]:
    """The share of training labels that the noise really changed, per data set and kind."""
    lines = []
    for dataset in grid.datasets:
        parts = []
        for key in grid.ordered_noises():
            cells = [c.details for c in grid.cells if (c.dataset, c.noise) == (dataset, key) and c.details]
            share = estimate([d.noise.realised for d in cells])
            if share is not None and share.mean > 0:
                parts.append(f"{100 * share.mean:.1f} % for {noise_name(grid.noises[key])}")
        if parts:
            lines.append(f"Training labels really changed ({dataset}): {'; '.join(parts)}.")
    return lines


def _versus(points: float) -> str:
    if abs(points) < 0.05:
        return "level with the baseline"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} the baseline"


def _paired(asm: Group, base: Group) -> tuple[Estimate, Estimate, Estimate | None]:
    """Both means and their difference, percent, over the seeds they share (over all, if none)."""
    a, b = ({d.seed: 100 * d.test.accuracy.last5 for d in g.done} for g in (asm, base))
    shared = sorted(a.keys() & b.keys())
    if not shared:
        return estimate(list(a.values())), estimate(list(b.values())), None
    pick_a, pick_b = [a[s] for s in shared], [b[s] for s in shared]
    return estimate(pick_a), estimate(pick_b), estimate([x - y for x, y in zip(pick_a, pick_b, strict=True)])


def gaps(grid: Grid, clean_only: bool = False) -> list[str]:
    """One sentence per data set, weights and noise that has both methods: ASM against baseline."""
    lines = []
    many = len({cell.init for cell in grid.cells}) > 1
    for dataset in grid.datasets:
        for init in grid.inits:
            for key in grid.ordered_noises():
                noise = grid.noises[key]
                asm, base = (grid.group(dataset, key, m, init) for m in ("asm", "baseline"))
                if asm is None or base is None or not asm.done or not base.done:
                    continue
                if clean_only and noise.rate != 0:
                    continue
                lines.append(_gap(asm, base, noise, f"{dataset}, {init}" if many else dataset))
    return lines


def _gap(asm: Group, base: Group, noise: Noise, where: str) -> str:
    ours, theirs, difference = _paired(asm, base)
    points = ours.mean - theirs.mean
    start = f"At {noise_name(noise)} noise"
    if noise.rate == 0 or noise.kind == "original":
        start = "On clean labels" if noise.rate == 0 else "On real labels"
    text = f"{start} ASM is {_versus(points)} ({where}: {ours.mean:.1f} against {theirs.mean:.1f} %"
    if difference is not None and difference.half is not None:
        low, high = difference.mean - difference.half, difference.mean + difference.half
        text += f"; paired over {difference.n} seeds, 95 % interval {low:+.1f} to {high:+.1f} points"
    else:
        text += "; no interval"
    single = [asm.network(0), asm.network(1)]
    if all(single):
        alone = (single[0].mean + single[1].mean) / 2
        return f"{text}). One of its two networks alone: {alone:.1f} %, {_versus(alone - theirs.mean)}."
    return text + ")."


def shortcomings(grid: Grid) -> list[str]:
    """What these results do not show, from the cells."""
    lines = warnings(grid)
    ours = {key: getattr(grid, key) for key in PAPER_SETTING}
    differing = [
        f"{k.replace('_', ' ')} {v} ({PAPER_SETTING[k]})" for k, v in ours.items() if v != PAPER_SETTING[k]
    ]
    if differing:
        lines.append(
            f"Smaller than or different from the paper's setting (in brackets): {_listed(differing)}."
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
    absent = [method_name(m) for m in paper_methods() if m not in methods]
    if absent:
        lines.append(f"Compared in the paper's Table 1, not part of this profile: {_listed(absent)}.")
    rates = {n.rate for n in grid.noises.values() if n.kind == "symmetric"}
    absent = [percent(r) for r in paper_rates() if r not in rates]
    if absent:
        lines.append(f"Noise rates of the paper that are not part of this profile: {_listed(absent)}.")
    groups = grid.groups()
    single = sum(len(g.done) == 1 for g in groups)
    if single:
        lines.append(
            f"{single} of {len(groups)} settings rest on one seed: differences between them may be chance."
        )
    blank = [c.cell for c in grid.cells if c.details is None]
    if blank:
        lines.append(f"Not evaluated, hence blank: {_listed(blank)}.")
    return lines


def paper_methods() -> list[str]:
    """The methods of the paper's Table 1, in its order."""
    return [key for key in paper()["table1"] if key != "protocol"]


def paper_rates() -> list[float]:
    """The noise rates of the paper's Table 1."""
    return list(paper()["table1"]["asm"])
