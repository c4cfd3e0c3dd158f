"""Runs the stages named on stdin, several at a time, and shows how far they are.

`... | python stages/progress.py JOBS COMMAND ...`: each line of stdin has one call's last arguments, first
the name of a train stage. In a terminal: a line a cell at work and a bar over all; in a log: a line for each
cell that ends.
"""

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EPOCH = re.compile(r"^(?P<cell>[\w-]+): epoch (?P<epoch>\d+)/(?P<epochs>\d+) .*test (?P<accuracy>[\d.]+) ?%")
ENDED = re.compile(r"^Running stage 'evaluate@(?P<cell>[\w-]+)'")
# what DVC says of a stage that goes well
QUIET = re.compile(
    r"^(Running stage|> |Updating lock file|Generating lock file|Use `dvc push`|To track|\s*git add"
    r"|To enable auto staging|\s*dvc config core|Stage '.*' didn't change|Stage '.*' is cached|$)"
)


@dataclass
class Shown:
    """How far the cells are: `accuracy` in percent of each cell seen, `ended` those that were trained."""

    total: int
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    accuracy: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.overall = self.progress.add_task("all cells", total=self.total, told="")

    def line(self, text: str) -> str | None:
        """Takes one line of output; returns what is to be printed, None for nothing."""
        if found := EPOCH.match(text):
            cell, accuracy = found["cell"], found["accuracy"]
            if cell not in self.tasks:
                self.tasks[cell] = self.progress.add_task(cell, total=int(found["epochs"]), told="")
            self.accuracy[cell] = accuracy
            told = f"epoch {found['epoch']}/{found['epochs']}, {accuracy} %"
            self.progress.update(self.tasks[cell], completed=int(found["epoch"]), told=told)
            return None
        if (found := ENDED.match(text)) and found["cell"] not in self.ended:
            cell = found["cell"]
            self.ended.add(cell)
            if cell in self.tasks:
                self.progress.remove_task(self.tasks.pop(cell))
            self.progress.update(self.overall, completed=len(self.ended))
            told = f"{self.accuracy[cell]} %" if cell in self.accuracy else "kept from before"
            return f"{len(self.ended)}/{self.total}  {cell}: {told}, {self.left()}"
        return None if QUIET.match(text) else text

    def left(self) -> str:
        """The time that the cells to come will take, if they take as long as those before."""
        done = len(self.ended)
        seconds = (time.monotonic() - self.started) / done * (self.total - done)
        return f"{seconds / 60:.0f} min left"


def run(calls: list[str], jobs: int, command: list[str], console: Console) -> int:
    """Runs `command` with each of these lines as its last arguments; returns the exit status of xargs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = Shown(len(calls), progress)
        child = subprocess.Popen(
            ["xargs", "-r", "-P", str(jobs), "-L", "1", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        child.stdin.write("".join(f"{call}\n" for call in calls))
        child.stdin.close()
        for text in child.stdout:
            if (told := shown.line(text.rstrip("\n"))) is not None:
                console.print(told, markup=False, highlight=False, soft_wrap=True)
        return child.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    waiting = [line.strip() for line in sys.stdin if line.strip()]
    sys.exit(run(waiting, args.jobs, args.command, Console()))
