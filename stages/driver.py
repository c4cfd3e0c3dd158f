"""What runs when: takes stages from DVC's side (ledger.py) to the workers (crew.py) and back."""

import math
import queue
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from crew import Crew
from distributed import Future
from distributed.scheduler import KilledWorker
from ledger import Ledger
from progress import Seconds, Shown
from rich.console import Console

from asm.basics.errors import InputError

ATTEMPTS = 3
REFUSED = "exit status 1: error: "  # what the user has to mend (asm.basics.errors.reported): again it would be the same
CELLS = ("train@", "out_of_sample@")  # what takes long


class Driver:
    """Runs the stages of `ledger` as their turn comes. At its end `failed` has stage -> message, `lost` these
    and all that needed them."""

    def __init__(self, ledger: Ledger, crew: Crew, view: Shown, stopped: Callable[[], bool]) -> None:
        self.ledger, self.crew, self.view, self.stopped = ledger, crew, view, stopped
        self.place = {name: place for place, name in enumerate(ledger.stages)}
        self.waiting = list(ledger.stages)  # for others
        self.ready: set[str] = set()  # for a worker
        self.running: dict[str, Future] = {}
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        self.lost: set[str] = set()
        self.attempts: Counter[str] = Counter()
        self.ended: queue.SimpleQueue[tuple[str, Future]] = queue.SimpleQueue()

    def leave_out(self, group: str | None) -> None:
        """Run none of these stages, and nothing that needs one."""
        left_out: set[str] = set()
        for name in list(self.waiting):
            if name.partition("@")[0] == group or self.ledger.upstream[name] & left_out:
                left_out.add(name)
                self.waiting.remove(name)

    def run(self) -> None:
        self.settle()
        while (self.ready or self.running) and not self.stopped():
            self.submit()
            finished = self.take()
            self.submit()  # before this process turns to what is finished: no worker waits for that
            with self.ledger.locked():
                for name, future in finished:
                    self.finish(name, future)
                self.ledger.write()
            self.settle()

    def settle(self) -> None:
        """Take off the list what is up to date; what is not, and may start, is `ready`."""
        with self.ledger.locked():
            for name in list(self.waiting):  # in DVC's order: what a stage needs comes before it
                if self.stopped():
                    return
                upstream = self.ledger.upstream[name]
                if upstream & self.lost:
                    self.lost.add(name)
                elif not upstream <= self.done:
                    continue
                elif self.ledger.settle(name):
                    self.done.add(name)
                    self.view.kept(name)
                else:
                    self.ready.add(name)
                self.waiting.remove(name)

    def submit(self) -> None:
        """As many as there are workers for."""
        if not self.ready:
            return
        self.view.slots = self.crew.slots()
        free = self.view.slots - len(self.running)
        for name in sorted(self.ready, key=self.turn)[: max(0, free)]:
            self.ready.remove(name)
            try:
                with self.ledger.locked():
                    job = self.ledger.job(name)
                    self.ledger.begin(name)
            except InputError as error:
                self.give_up(name, str(error))
                continue
            self.running[name] = future = self.crew.submit(job)
            future.add_done_callback(lambda future, name=name: self.ended.put((name, future)))
            self.view.begun(name)

    def turn(self, name: str) -> tuple[bool, float, int]:
        """Sorts what is ready: cells last, and the longest of them first, so that no core is idle for long at
        the end. Those of unknown length come before, from the last in the profile, where longer ones are."""
        expected = self.view.seconds.expected(name)
        return name.startswith(CELLS), -(expected or math.inf), -self.place[name]

    def take(self) -> list[tuple[str, Future]]:
        """What has ended; it waits a second for the first."""
        found = []
        with suppress(queue.Empty):
            found.append(self.ended.get(timeout=1))
            while True:
                found.append(self.ended.get_nowait())
        return [(name, future) for name, future in found if self.running.get(name) is future]

    def finish(self, name: str, future: Future) -> None:
        """Give the stage's outputs to DVC, or have it run again, or give it up."""
        del self.running[name]
        try:
            result = future.result()
            if "unfit" not in result:
                self.ledger.finish(name)
        except KilledWorker:
            self.unsuccessful(name, "its worker died")
        except (RuntimeError, InputError) as error:
            self.unsuccessful(name, str(error))
        else:
            if "unfit" in result:
                self.do_without(result["worker"], result["unfit"], name)
                return
            self.done.add(name)
            self.view.done(name, result["seconds"], result["errors"])

    def do_without(self, worker: str, reason: str, name: str) -> None:
        """This worker may run nothing; its stage is no worse for it. Raises InputError if it was the last."""
        self.ledger.drop(name)
        self.ready.add(name)
        self.view.again(name, reason)
        if not self.crew.retire(worker):
            raise InputError(reason)

    def unsuccessful(self, name: str, reason: str) -> None:
        self.ledger.drop(name)
        self.attempts[name] += 1
        if REFUSED in reason:
            self.give_up(name, reason.partition(REFUSED)[2])
        elif self.attempts[name] < ATTEMPTS:
            self.ready.add(name)
            self.view.again(name, reason.splitlines()[-1])
        else:
            self.give_up(name, f"{ATTEMPTS} times; the last time: {reason}")

    def give_up(self, name: str, reason: str) -> None:
        self.failed[name] = reason
        self.lost.add(name)
        self.view.failed(name, reason)


def bring_up_to_date(
    ledger: Ledger,
    jobs: int,
    cells_per_gpu: int = 1,
    cluster: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
    before: str | None = None,
) -> None:
    """What `dvc repro` does, by workers (see Crew), until `stopped`; not for stages of the group `before` and
    what needs them.

    Raises:
        InputError: stages failed; all that did not need them was run nevertheless.
    """
    with Shown(list(ledger.stages), Seconds(ledger.home), Console()) as view:
        driver = Driver(ledger, Crew(ledger.home, jobs, cells_per_gpu, cluster, view), view, stopped)
        driver.leave_out(before)
        with driver.crew:
            driver.run()
    if driver.failed:
        lost = len(driver.lost - driver.failed.keys())
        also = f"; {lost} that need them were not run" if lost else ""
        raise InputError(f"these stages failed: {', '.join(driver.failed)}{also}")
