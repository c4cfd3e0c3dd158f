"""How far `make repro` is: in a terminal a line a cell at work and a bar over all; in a log a line for each
cell that ends. The time left comes from the seconds of cells like those to come."""

import csv
import re
import statistics
import time
from contextlib import suppress
from pathlib import Path

from dvc.utils.serialize import load_yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

EPOCH = re.compile(
    r"^(?P<cell>[\w-]+)(?P<fold>, fold \d+ of \d+)?: "
    r"epoch (?P<epoch>\d+)/(?P<epochs>\d+) .*test (?P<accuracy>[\d.]+) ?%"
)
BAR = re.compile(r"(?P<part>[\w -]+): +(?P<percent>\d+)%\|")  # of tqdm
# groups of dvc.yaml's stages
CELLS = ("train", "out_of_sample")  # what takes long
SCORES = ("evaluate", "assess")  # one for each of these; not worth a line
Kind = tuple[str, ...]


class Seconds:
    """What stages took, and what others like them may take: of the same method on the same data."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._kinds: dict[str, Kind] = {}
        self._measured: dict[Kind, list[float]] = {}

    def kind(self, stage: str) -> Kind:
        group, _, key = stage.partition("@")
        if stage not in self._kinds:
            path = self.home / "configs" / group / f"{key}.yaml"
            config = load_yaml(path) if path.is_file() else {}
            self._kinds[stage] = (group, *(str(config.get(each)) for each in ("method", "dataset")))
        return self._kinds[stage]

    def add(self, stage: str, seconds: float) -> None:
        self._measured.setdefault(self.kind(stage), []).append(seconds)

    def add_recorded(self, stage: str) -> None:
        """A cell trained before, by its own record."""
        path = self.home / "timing" / f"{stage.partition('@')[2]}.csv"
        if stage.startswith("train@") and path.is_file():
            with suppress(KeyError, TypeError, ValueError, csv.Error):  # it may be damaged
                rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
                self.add(stage, sum(float(row["seconds"]) for row in rows))

    def expected(self, stage: str) -> float | None:
        """Seconds; None before anything of its group has ended."""
        kind = self.kind(stage)
        found = self._measured.get(kind)
        found = found or [
            x for other, values in self._measured.items() if other[0] == kind[0] for x in values
        ]
        return statistics.fmean(found) if found else None


class ProgressView:
    """What the user sees. `stages`: the names of all."""

    def __init__(self, stages: list[str], seconds: Seconds, console: Console) -> None:
        self.seconds, self.console = seconds, console
        self.slots = 1  # stages that run at once
        self.open = dict.fromkeys(stages)  # neither done nor failed
        self.cells = {name for name in stages if name.startswith("train@")}
        self.started: dict[str, float] = {}
        self.accuracy: dict[str, str] = {}
        self.failures = 0
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self.tasks: dict[str, TaskID] = {}
        self.overall = self.bars.add_task("cells", total=len(self.cells), told="")

    def __enter__(self) -> "ProgressView":
        self.bars.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.bars.stop()

    def told(self, event: dict[str, str]) -> None:
        """Takes what a worker tells of a stage (job.run)."""
        if event["stage"] in self.started and "line" in event:
            self.line(event["stage"], event["line"])

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def kept(self, stage: str) -> None:
        """It was up to date."""
        self.open.pop(stage)
        self.seconds.add_recorded(stage)

    def begun(self, stage: str) -> None:
        self.started[stage] = time.monotonic()
        self.update()

    def line(self, stage: str, text: str) -> None:
        """Takes what a stage printed."""
        if found := EPOCH.match(text):
            self.accuracy[stage] = found["accuracy"]
            told = f"epoch {found['epoch']}/{found['epochs']}{found['fold'] or ''}, {found['accuracy']} %"
            self._bar(stage, int(found["epoch"]), int(found["epochs"]), told)
        elif found := BAR.match(text):
            self._bar(stage, int(found["percent"]), 100, found["part"])
        elif text.strip():
            self.say(text)

    def _bar(self, stage: str, completed: int, total: int, told: str) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=total, told="")
        self.bars.update(self.tasks[stage], completed=completed, total=total, told=told)

    def done(self, stage: str, seconds: float, errors: list[str]) -> None:
        """`errors`: what it printed as errors without ending with one."""
        self._leaves(stage)
        self.open.pop(stage)
        for text in filter(str.strip, errors):
            self.say(text)
        self.seconds.add(stage, seconds)
        group, _, key = stage.partition("@")
        if stage in self.cells:
            accuracy = f"{self.accuracy[stage]} %, " if stage in self.accuracy else ""
            self.say(f"{self._ended()}/{len(self.cells)}  {key}: {accuracy}{self.left()}")
        elif group not in SCORES:
            self.say(f"{stage}: {seconds:.0f} s")
        self.update()

    def again(self, stage: str, reason: str) -> None:
        self._leaves(stage)
        self.say(f"{stage}: {reason}; it will be run again")

    def failed(self, stage: str, message: str) -> None:
        self._leaves(stage)
        self.open.pop(stage)
        self.failures += stage in self.cells
        self.say(f"{stage} failed: {message}")
        self.update()

    def _leaves(self, stage: str) -> None:
        self.started.pop(stage, None)
        if stage in self.tasks:
            self.bars.remove_task(self.tasks.pop(stage))

    def _ended(self) -> int:
        return len(self.cells) - len(self.cells & self.open.keys()) - self.failures

    def update(self) -> None:
        running = len(self.cells & self.started.keys())
        waiting = len(self.cells & self.open.keys()) - running
        counts = {"done": self._ended(), "running": running, "waiting": waiting, "failed": self.failures}
        told = ", ".join([*(f"{count} {state}" for state, count in counts.items()), self.left()])
        self.bars.update(self.overall, completed=self._ended(), told=told)

    def left(self) -> str:
        """The time that the cells to come will take."""
        seconds, longest, now = 0.0, 0.0, time.monotonic()
        for stage in self.cells & self.open.keys():
            expected = self.seconds.expected(stage)
            if expected is None:
                return "time left not known yet"
            rest = max(0.0, expected - (now - self.started[stage] if stage in self.started else 0.0))
            seconds, longest = seconds + rest, max(longest, rest)
        return f"{max(seconds / max(self.slots, 1), longest) / 60:.0f} min left"
