"""benchmarks/README.md: introduction.md, and the results/*/*.json as tables."""

import json
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
RATIOS = {
    "usual_way": "1 the usual way ÷ ours",
    "bf16": "2 ASM's epoch in fp32 ÷ in bf16",
    "alignment": "4 MTCNN image by image ÷ ours",
    "bank": "5 the frozen network alone ÷ the whole `features` stage",
    "streaming": "6 resident ÷ streamed from the memory map",
}
SETTINGS = {
    "image_size": "{} px",
    "backbone": "{}",
    "width": "width {}",
    "batch_size": "batch {}",
    "precision": "{}",
}


def load() -> dict[str, dict[str, dict]]:
    """Machine -> measurement -> what its file holds; the CPU first."""
    folders = sorted((HERE / "results").iterdir(), key=lambda folder: (folder.name != "cpu", folder.name))
    return {
        folder.name: {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))}
        for folder in folders
        if folder.is_dir()
    }


def page(results: dict[str, dict[str, dict]]) -> str:
    """The page as Markdown."""
    parts = [(HERE / "introduction.md").read_text(encoding="utf-8").rstrip()]
    for machine, found in results.items():
        parts += [f"## {machine.upper() if machine == 'cpu' else machine}", *_tables(found)]
    if set(results) <= {"cpu"}:
        parts += [
            "## GPU",
            "Not measured yet: `python benchmarks/gpu.py`, then `python benchmarks/report.py`.",
        ]
    return "\n\n".join(parts) + "\n"


def _tables(found: dict[str, dict]) -> list[str]:
    ratios = [
        _ratio(title, r) for kind, title in RATIOS.items() for n, r in found.items() if n.startswith(kind)
    ]
    tables = [pd.DataFrame(ratios)]
    if mining := found.get("mining"):
        tables.append(_row("3 mining, milliseconds by samples", mining["milliseconds"], mining["exponent"]))
    if scaling := found.get("scaling"):
        for axis, title in (("samples", "samples"), ("image_size", "image side, px")):
            seconds, exponent = scaling[f"by_{axis}"]["seconds"], scaling[f"exponent_{axis}"]
            tables.append(_row(f"8 seconds of an epoch by {title}", seconds, exponent))
    if datasets := found.get("datasets"):
        tables.append(_row("8 seconds of an epoch of synthetic pixels", datasets["seconds"]))
    if memory := found.get("memory"):
        tables.append(pd.DataFrame(memory["peak_mb"]).rename(columns={"samples": "6 peak MB: samples"}))
    if driver := [row for name in ("driver", "scale") for row in found.get(name, {}).get("by_cells", [])]:
        tables.append(pd.DataFrame(driver).rename(columns={"cells": "7 the grid: cells"}))
    if finetuning := found.get("finetuning"):
        tables.append(_changes(finetuning))
    texts = [table.astype(object).rename(columns=lambda name: name.replace("_", " ")) for table in tables]
    return [text.where(text.notna(), "").to_markdown(index=False, disable_numparse=True) for text in texts]


def _ratio(title: str, result: dict) -> dict[str, object]:
    settings = [text.format(result[key]) for key, text in SETTINGS.items() if key in result]
    speeds = [str(value) for key, value in result.items() if "per_second" in key]
    on = result["machine"]
    return {
        "told as a ratio": title,
        "of": ", ".join(settings),
        "median (smallest–largest)": "{ratio:.2f} ({smallest:.2f}–{largest:.2f})".format(**result),
        "samples a second": " / ".join(speeds),
        "on": f"{on['device']}, {on['threads']} of {on['cores']} threads, torch {on['torch']}, {on['date']}",
    }


def _changes(result: dict) -> pd.DataFrame:
    """What a step would take if it were changed in one thing."""
    title = f"9 a step of {result['gigaflop']} GFLOP, {result['seconds']} s: changed in"
    return pd.DataFrame(
        {title: name, "÷ ours": "{ratio:.2f} ({smallest:.2f}–{largest:.2f})".format(**change)}
        for name, change in result["changed"].items()
    )


def _row(title: str, values: dict[str, float], exponent: float | None = None) -> pd.DataFrame:
    """A column a number; `exponent` of its growth."""
    return pd.DataFrame([{title: "", **values} | ({} if exponent is None else {"~ n^b, b =": exponent})])


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(load()), encoding="utf-8")
