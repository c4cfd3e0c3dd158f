"""benchmarks/README.md from results/*/*.json."""

import json
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
Result = dict[str, dict]  # name of a measurement -> its json

# (row, goal on a CPU, goal on a GPU, figure from one machine's results; None where it was not measured)
ROWS: list[tuple[str, str, str, Callable[[Result], str | None]]] = []


def row(name: str, cpu: str, gpu: str) -> Callable:
    """Register a function as a row of the first table."""

    def register(figure: Callable[[Result], str | None]) -> Callable[[Result], str | None]:
        ROWS.append((name, cpu, gpu, figure))
        return figure

    return register


def _ratio(found: Result, name: str, unit: str = "") -> str | None:
    if name not in found:
        return None
    r = found[name]
    r = r if "ratio" in r else next(iter(r.values()))
    return f"{r['ratio']:.2f}{unit} ({r['smallest']:.2f}–{r['largest']:.2f})"


@row("1 Step ceiling, 48 px, width 16: the networks alone ÷ ASM's epoch", "≥ 0.85", "–")
def _(found: Result) -> str | None:
    return _ratio(found, "step_ceiling_48")


@row("1 Step ceiling, 224 px, width 64", "≥ 0.85", "≥ 0.90")
def _(found: Result) -> str | None:
    return _ratio(found, "step_ceiling_224")


@row("2 The usual way ÷ ours, 224 px, width 64", "≥ 3×", "≥ 10×")
def _(found: Result) -> str | None:
    return _ratio(found, "usual_way_224", "×")


@row("2 The usual way ÷ ours in bf16 (AMX), 224 px, width 64", "≥ 3×", "–")
def _(found: Result) -> str | None:
    return _ratio(found, "usual_way_224_bf16", "×")


@row("2 The usual way ÷ ours, 48 px, width 16", "–", "–")
def _(found: Result) -> str | None:
    return _ratio(found, "usual_way_48", "×")


@row("3 Mining a million samples", "< 50 ms", "–")
def _(found: Result) -> str | None:
    return f"{found['mining']['milliseconds']['1000000']:.1f} ms" if "mining" in found else None


@row("3 Mining: exponent of its growth, 10⁴ → 10⁶ samples", "1", "–")
def _(found: Result) -> str | None:
    return f"{found['mining']['exponent']:.2f}" if "mining" in found else None


def _augmentation(kind: str, size: int) -> Callable[[Result], str | None]:
    def figure(found: Result) -> str | None:
        name = f"augmentation_{size}"
        return _ratio({"it": found[name][kind]}, "it", "×") if name in found else None

    return figure


for _kind in ("weak", "strong"):
    row(f"4 {_kind.capitalize()} view, 224 px: torchvision per image ÷ ours", "≥ 3×", "≥ 10×")(
        _augmentation(_kind, 224)
    )
    row(f"4 {_kind.capitalize()} view, 48 px", "≥ 3×", "–")(_augmentation(_kind, 48))


@row("5 Alignment: MTCNN image by image ÷ ours, one core", "≥ 3×", "–")
def _(found: Result) -> str | None:
    return _ratio(found, "alignment", "×")


@row("5 Alignment: largest difference of boxes and landmarks", "0 px", "–")
def _(found: Result) -> str | None:
    if "alignment" not in found:
        return None
    r = found["alignment"]
    return (
        f"{r['largest_difference_pixels']} px in {r['images']} images; "
        f"{r['found_by_one_of_both_only']} found by one of both only"
    )


@row("5 Alignment of AffectNet's 290,000 images, projected from the speed on 224 px", "–", "–")
def _(found: Result) -> str | None:
    if "alignment" not in found:
        return None
    return f"{found['alignment']['hours_for_affectnet_on_one_core']} h on one core"


@row("6 Streamed from the memory map ÷ resident, samples per second", "–", "≥ 0.95")
def _(found: Result) -> str | None:
    return _ratio(found, "streaming")


@row("6 Memory for 1,000 more samples: resident, streamed", "–", "–")
def _(found: Result) -> str | None:
    if "memory" not in found:
        return None
    growth = found["memory"]["mb_per_1000_samples"]
    place = "device" if "resident_device_mb" in growth else "host"
    return f"{growth[f'resident_{place}_mb']} MB, {growth[f'streamed_{place}_mb']} MB ({place})"


@row("7 DVC: one more cell, its training and evaluation, in a grid of 25, 100, 300 cells", "–", "–")
def _(found: Result) -> str | None:
    return (
        ", ".join(f"{r['seconds_per_cell']:.1f} s" for r in found["dvc"]["by_cells"])
        if "dvc" in found
        else None
    )


@row("7 DVC: `dvc repro` with nothing to do, at 25, 100, 300 cells", "–", "–")
def _(found: Result) -> str | None:
    if "dvc" not in found:
        return None
    return ", ".join(f"{r['repro_with_nothing_to_do_seconds']:.1f} s" for r in found["dvc"]["by_cells"])


@row("7 `make repro`: a cell of a whole grid of 25, 100, 300 cells, two workers", "< 1 s at 300", "–")
def _(found: Result) -> str | None:
    if "driver" not in found:
        return None
    return ", ".join(f"{r['seconds_per_cell']:.2f} s" for r in found["driver"]["by_cells"])


@row("7 `make repro`: utilisation of 64 workers by 384 cells that sleep for a minute", "≥ 0.95", "–")
def _(found: Result) -> str | None:
    return f"{found['scale']['by_cells'][0]['utilisation']:.3f}" if "scale" in found else None


@row("8 Seconds per epoch ~ samples^b; image side^b", "1; 2", "1; 2")
def _(found: Result) -> str | None:
    if "scaling" not in found:
        return None
    return f"b = {found['scaling']['exponent_samples']:.2f}; {found['scaling']['exponent_image_size']:.2f}"


@row("9 Bank of views, 112 px: the frozen network alone ÷ the `features` stage, all cores", "–", "–")
def _(found: Result) -> str | None:
    return _ratio(found, "bank")


@row("9 Bank of views: faces per second, nine views of each", "–", "–")
def _(found: Result) -> str | None:
    return f"{found['bank']['faces_per_second']:.0f}" if "bank" in found else None


@row("10 ASM's epoch in fp32 ÷ in bf16, dlib's network at 80 px, one thread", "–", "–")
def _(found: Result) -> str | None:
    return _ratio(found, "bf16", "×")


@row("Largest gap between kernels, as a share of a step", "–", "≤ 5 %")
def _(found: Result) -> str | None:
    return f"{found['gaps']['largest_gap_share_of_a_step']:.1%}" if "gaps" in found else None


@row("Seconds per epoch for RAF-DB's and AffectNet's number of images, synthetic pixels", "–", "–")
def _(found: Result) -> str | None:
    if "datasets" not in found:
        return None
    return ", ".join(f"{name} {s:.1f} s" for name, s in found["datasets"]["seconds_per_epoch"].items())


def load() -> dict[str, Result]:
    """Machine -> measurement -> json; the CPU first."""
    folders = sorted((HERE / "results").iterdir(), key=lambda folder: (folder.name != "cpu", folder.name))
    return {
        folder.name: {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))}
        for folder in folders
        if folder.is_dir()
    }


def page(results: dict[str, Result]) -> str:
    lines = [(HERE / "introduction.md").read_text().rstrip(), ""]
    for machine, found in results.items():
        gpu = machine != "cpu"
        described = sorted({_described(r["machine"]) for r in found.values()})
        lines += [f"## {'GPU' if gpu else 'CPU'}", "", *(f"- {text}" for text in described), ""]
        lines += ["| benchmark | goal | median (smallest–largest of the pairs) |", "|---|---|---|"]
        for name, cpu_goal, gpu_goal, figure in ROWS:
            value = figure(found)
            if value is not None:
                lines.append(f"| {name} | {gpu_goal if gpu else cpu_goal} | {value} |")
        lines += ["", *_details(found)]
    if set(results) <= {"cpu"}:
        lines += [
            "## GPU",
            "",
            "Not measured yet: `python benchmarks/gpu.py`, then `python benchmarks/report.py`.",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _described(machine: dict) -> str:
    return (
        f"{machine['device']}, {machine['threads']} of {machine['cores']} threads, torch {machine['torch']}, "
        f"Python {machine['python']}, {machine['date']}"
    )


def _details(found: Result) -> list[str]:
    lines = []
    ceilings = {name: r for name, r in found.items() if name.startswith("step_ceiling")}
    if ceilings:
        lines += ["What the time of an epoch goes to (torch.profiler, self time):", ""]
        for name, r in ceilings.items():
            parts = ", ".join(f"{key} {share:.1%}" for key, share in r["not_in_the_networks"].items())
            speed = f"{r['gflops_networks_alone']} of a matrix product's {r['gflops_matmul']} GFLOP/s"
            lines.append(f"- {name.removeprefix('step_ceiling_')} px (the networks reach {speed}): {parts}")
        lines.append("")
    speeds = {n: r for n, r in found.items() if n.startswith("usual_way")}
    if speeds:
        lines += [
            "| samples per second of an epoch | the usual way | ours | ratio | at best |",
            "|---|---|---|---|---|",
        ]
        for r in speeds.values():
            what = f"{r['image_size']} px, width {r['width']}, batch {r['batch_size']}, {r['precision']}"
            usual, ours = r["samples_per_second_usual"], r["samples_per_second"]
            best = r["largest_possible_ratio"]
            lines.append(f"| {what} | {usual} | {ours} | {r['ratio']:.2f}× | {best:.2f}× |")
        lines += [
            "",
            "At best: were our convolutions as fast as one large matrix product, and all else free of cost.",
            "",
        ]
    if "scaling" in found:
        r = found["scaling"]
        for key, title in (("by_samples", "samples"), ("by_image_size", "px")):
            seconds = r[key]["seconds"]
            fixed = ", ".join(f"{k} {v}".replace("_", " ") for k, v in r[key].items() if k != "seconds")
            lines += [f"| {title} ({fixed}, width {r['width']}) | " + " | ".join(seconds) + " |"]
            lines += ["|---" * (len(seconds) + 1) + "|"]
            lines += ["| seconds per epoch | " + " | ".join(str(v) for v in seconds.values()) + " |", ""]
    if "memory" in found:
        lines += _table(found["memory"]["peak_mb"])
    if "dvc" in found:
        lines += _table(found["dvc"]["by_cells"])
    driven = [result for name in ("driver", "scale") for result in found.get(name, {}).get("by_cells", [])]
    return lines + (_table(driven) if driven else [])


def _table(rows: list[dict]) -> list[str]:
    """A column a key."""
    cells = [[name.replace("_", " ") for name in rows[0]]]
    cells += [["" if value is None else str(value) for value in row.values()] for row in rows]
    lines = [f"| {' | '.join(each)} |" for each in cells]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:], ""]


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(load()), encoding="utf-8")
