"""A stage of a rehearsal: the script of stages/, on few images, with what it took in measured/<stage>.json.

measured.py <images> <stage> <the stage's own words>: so many training images, of all classes alike.
"""

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES = Path(__file__).resolve().parents[1] / "stages"
A_CLASS = 8  # training images at least, for folds of 5
STARTED = time.perf_counter()
TESTED = 256  # images: a batch of those that are not trained on


def few(dataset: Any, images: int) -> Any:
    """The data set with so many of its training images, and `TESTED` of the others: of all classes, and all
    parts of a union, alike."""
    import numpy as np

    from asm.datasets import base

    table = dataset.table.sample(frac=1, random_state=0)
    keys = ["split", "true", *(["origin"] if "origin" in table else [])]
    table = table.assign(turn=table.groupby(keys).cumcount()).sort_values("turn", kind="stable")
    counts = {"train": max(images, A_CLASS * len(dataset.classes)), "valid": TESTED, "test": TESTED}
    rows = np.sort(np.concatenate([table.index[table.split == s][:n] for s, n in counts.items()]))
    read = base.Rows((dataset.read,), np.zeros(len(rows), np.int64), rows)
    kept = dataset.table.loc[rows].reset_index(drop=True)
    return base.check(base.FaceDataset(dataset.name, dataset.classes, kept, read))


def busy() -> float:
    """Seconds of the processor of this process and of those that it has waited for; the clock's where a GPU
    computes."""
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        return time.perf_counter() - STARTED
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def hook(stage: str, images: int, record: dict[str, Any]) -> None:
    """Have `align` read few images, and the long stages tell what an image takes."""
    if stage == "align":
        from asm import datasets

        whole: Callable[..., Any] = datasets.load

        def load(*arguments: Any, **options: Any) -> Any:
            datasets.load = whole  # the parts of a union are read whole
            started = busy()
            dataset = whole(*arguments, **options)
            record["whole"] = dataset.table.split.value_counts().to_dict()
            record["classes"] = len(dataset.classes)
            record["reading_seconds"] = busy() - started
            part = few(dataset, images)
            record.update(images=len(part.table), began=busy())
            return part

        datasets.load = load
    if stage == "features":
        from asm.training import features

        write_bank = features.write_bank

        def written(faces: Any, *arguments: Any, **options: Any) -> Any:
            record.update(images=len(faces.manifest), began=busy())
            return write_bank(faces, *arguments, **options)

        features.write_bank = written
    if stage == "train":
        from asm.training import cell

        evaluate = cell.evaluate

        def timed(method: Any, data: Any) -> Any:
            started = busy()
            found = evaluate(method, data)
            record["evaluated"] = len(data.test.ids) + len(data.valid.ids)
            record["evaluation_seconds"] = (busy() - started) / record["evaluated"]
            return found

        cell.evaluate = timed


def main() -> None:
    images, stage = int(sys.argv[1]), sys.argv[2]
    sys.argv = [str(STAGES / f"{stage}.py"), *sys.argv[3:]]
    sys.path[0] = str(STAGES)
    __import__("bootstrap")
    record: dict[str, Any] = {}
    hook(stage, images, record)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        what = " ".join(str(error).split())[:300]
        sys.exit(f"error: not enough memory ({what}); a smaller training.batch_size or network needs less")
    finally:
        if "began" in record:
            record["work_seconds"] = busy() - record.pop("began")
        record |= {"seconds": time.perf_counter() - STARTED, "busy_seconds": busy()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # of kB
        record["device"] = "cpu"
        if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
            peak, record["device"] = torch.cuda.max_memory_reserved() / 1e9, torch.cuda.get_device_name()
        path = Path("measured", f"{os.environ['DVC_STAGE']}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record | {"peak_gb": peak}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
