"""What runs when: takes stages from DVC's side (ledger.py) to the workers (workers.py) and back."""

import math
import queue
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distributed import Future
from distributed.scheduler import KilledWorker
from ledger import Ledger
from progress import CELLS, SCORES, ProgressView, Seconds
from rich.console import Console
from workers import WorkerPool

from asm.basics.errors import InputError

ATTEMPTS = 3
# what the user has to mend (asm.basics.errors.reported); run again, it would be the same
REFUSED = "exit status 1: error: "


class Driver:
    """Runs the stages of `ledger` as their turn comes. At its end `failed` has stage -> message, `lost` these
    and all that needed them."""

    def __init__(
        self,
        ledger: Ledger,
        pool: WorkerPool,
        view: ProgressView,
        stopped: Callable[[], bool],
        attempts: int = ATTEMPTS,
    ) -> None:
        self.ledger, self.pool, self.view, self.stopped = ledger, pool, view, stopped
        self.allowed = attempts
        self.place = {name: place for place, name in enumerate(ledger.stages)}
        self.waiting = list(ledger.stages)  # for others
        self.ready: set[str] = set()  # for a worker
        self.running: dict[str, Future] = {}
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        self.lost: set[str] = set()
        self.attempts: Counter[str] = Counter()
        self.ended: queue.SimpleQueue[tuple[str, Future]] = queue.SimpleQueue()

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
                else:
                    self.settle_one(name)
                self.waiting.remove(name)

    def settle_one(self, name: str) -> None:
        try:
            up_to_date = self.ledger.settle(name)
        except InputError as error:  # its outputs cannot be brought back: no other stage's matter
            self.give_up(name, str(error))
        else:
            (self.done if up_to_date else self.ready).add(name)
            if up_to_date:
                self.view.kept(name)

    def submit(self) -> None:
        """As many as there are workers for."""
        if not self.ready:
            return
        self.view.slots = self.pool.slots()
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
            self.running[name] = future = self.pool.submit(job)
            future.add_done_callback(lambda future, name=name: self.ended.put((name, future)))
            self.view.begun(name)

    def turn(self, name: str) -> tuple[bool, float, int]:
        """Sorts what is ready: cells last, and the longest of them first, so that no core is idle for long at
        the end. Those of unknown length come before, from the last in the profile, where longer ones are."""
        expected = self.view.seconds.expected(name)
        return name.partition("@")[0] in CELLS, -(expected or math.inf), -self.place[name]

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
        except Exception as error:  # of the worker's machine, such as a full disk: no other stage's matter
            self.unsuccessful(name, f"{type(error).__name__}: {error}")
        else:
            if "unfit" in result:
                self.retire_worker(result["worker"], result["unfit"], name)
                return
            self.done.add(name)
            self.view.done(name, result["seconds"], result["errors"])

    def retire_worker(self, worker: str, reason: str, name: str) -> None:
        """Exclude an unfit worker; another one runs its stage, for which this counts as no failure. Raises
        InputError if it was the last."""
        self.ledger.drop(name)
        self.ready.add(name)
        self.view.again(name, reason)
        if not self.pool.retire(worker):
            raise InputError(reason)

    def unsuccessful(self, name: str, reason: str) -> None:
        self.ledger.drop(name)
        self.attempts[name] += 1
        if REFUSED in reason:
            self.give_up(name, reason.partition(REFUSED)[2])
        elif self.attempts[name] < self.allowed:
            self.ready.add(name)
            self.view.again(name, reason.splitlines()[-1])
        else:
            times = f"{self.allowed} times; the last time: " if self.allowed > 1 else ""
            self.give_up(name, times + reason)

    def give_up(self, name: str, reason: str) -> None:
        self.failed[name] = reason
        self.lost.add(name)
        self.view.failed(name, reason)


def run_all(
    ledger: Ledger,
    jobs: int,
    cells_per_gpu: int,
    cluster: Path | None,
    stopped: Callable[[], bool],
    attempts: int = ATTEMPTS,
) -> Driver:
    """Do what `dvc repro` does, by workers (see WorkerPool), until `stopped`. What needs no failed stage is
    run nevertheless. `attempts`: at a stage that fails for no reason that the user has to mend."""
    with ProgressView(list(ledger.stages), Seconds(ledger.home), Console()) as view:
        if gone := ledger.clear(SCORES):
            view.say(f"removed, because the profile has no such cells: {', '.join(gone)}")
        pool = WorkerPool(ledger.home, jobs, cells_per_gpu, cluster, view)
        driver = Driver(ledger, pool, view, stopped, attempts)
        with pool:
            driver.run()
    return driver


def check(driver: Driver) -> None:
    """Raise InputError if stages failed."""
    if driver.failed:
        lost = len(driver.lost - driver.failed.keys())
        also = f"; {lost} that need them were not run" if lost else ""
        raise InputError(f"these stages failed: {', '.join(driver.failed)}{also}")
