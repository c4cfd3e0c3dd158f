"""Cells trained on a machine without DVC and without a network: pack, run there, accept what comes back.

`pack` puts the jobs that `make repro` would give to workers, jobs.json, and what they read into one file.
`run`, in a clone of the same commit, does what a worker does and records what each job read and wrote.
`accept` takes over each result whose job would be the same now, as `make repro` takes over a worker's.
"""

from checkout import ROOT

import argparse
import fnmatch
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from job import code, execute, remove, stage_environment
from project import project

from asm.basics.errors import InputError, reported
from asm.basics.files import exclusive, whole

NAME, WORD = re.compile(r"train@\w[\w-]*"), re.compile(r"[\w.-]+")
INPUTS, OUTPUTS = ("configs/", "data/"), ("runs/", "timing/")  # of a profile
SCRIPT = "stages/train.py"  # all that a pack may run
SAME = ("name", "cmd", "folder", "outs", "deps")  # what makes a job the one of now
Job = dict[str, Any]  # of Ledger.job what is in SAME; paths as seen from the root


def digest(path: Path) -> str | None:
    """The MD5 of a file, or of a folder's list of files, as DVC has it; None: not there."""
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        entries = [{"md5": digest(files[name]), "relpath": name} for name in sorted(files)]
        return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"
    if not path.is_file():
        return None
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def jobs_of(ledger: Any) -> dict[str, Job]:
    """The cells that `make repro` would train now, all that training reads being up to date."""
    from driver import bring_up_to_date  # needs Dask, which is at home only

    bring_up_to_date(ledger, len(os.sched_getaffinity(0)), before="train")
    jobs = {}
    with ledger.locked():
        for name in (name for name in ledger.stages if name.startswith("train@")):
            fresh, job = ledger.settle(name), ledger.job(name)
            jobs[name] = {
                "name": name,
                "cmd": job["cmd"],
                "folder": os.path.relpath(job["folder"], ROOT),
                "outs": [os.path.relpath(path, ROOT) for path in job["outs"]],
                "deps": {os.path.relpath(path, ROOT): md5 for path, md5 in job["deps"].items()},
                "fresh": fresh,
            }
    return jobs


def pack(target: Path, ledger: Any, patterns: list[str]) -> None:
    """Write the jobs of the cells that match, and what they read."""
    jobs = jobs_of(ledger)
    cells = [name.partition("@")[2] for name in jobs]
    for pattern in patterns:
        if not fnmatch.filter(cells, pattern):
            raise InputError(f"CELLS: {pattern} is none of the cells {', '.join(cells)}")
    chosen = [jobs[f"train@{cell}"] for cell in cells if any(fnmatch.fnmatch(cell, p) for p in patterns)]
    chosen = [job for job in chosen if not job.pop("fresh")]
    if not chosen:
        raise InputError("these cells are up to date; there is nothing to pack")
    text = json.dumps({"code": code(ROOT), "jobs": chosen}, indent=1).encode()
    info = tarfile.TarInfo("jobs.json")
    info.size = len(text)
    with whole(target) as path, tarfile.open(path, "w") as tar:
        tar.addfile(info, io.BytesIO(text))
        for dep in sorted({dep for job in chosen for dep in job["deps"]}):
            tar.add(ROOT / dep, dep)
    print(f"{target}: {len(chosen)} cells, {target.stat().st_size / 1e6:.0f} MB")


def run(source: Path, out: Path) -> None:
    """Run the jobs in `<out>.work`; `out` receives what is finished, and only that travels back."""
    work, failed = out.with_name(f"{out.name}.work"), []
    with exclusive(work):
        for job in unpacked(source, work):
            record = out / "records" / f"{job['name']}.json"
            if record.is_file() and not list(faults(json.loads(record.read_bytes()), job, out)):
                print(f"{job['name']}: finished before")
                continue
            folder, words = work / job["folder"], shlex.split(job["cmd"][0])
            folder.mkdir(parents=True, exist_ok=True)
            words[2] = str(ROOT / SCRIPT)
            here = job | {
                "cmd": [shlex.join(words)],
                "folder": str(folder),
                "home": str(folder),
                "threads": {},
            }
            here["outs"] = [str(work / path) for path in job["outs"]]
            try:
                execute(here, stage_environment(here), lambda line: print(line, flush=True), lambda: True, {})
            except RuntimeError as error:
                failed.append(f"{job['name']}: {error}")
                print(f"failed {failed[-1]}", file=sys.stderr, flush=True)
                continue
            for path in job["outs"]:
                remove(out / path)
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).replace(out / path)
            written = {path: digest(out / path) for path in job["outs"]}
            with whole(record) as path:  # last: what has a record is whole
                path.write_text(json.dumps({**job, "written": written}, indent=1), encoding="utf-8")
    if failed:
        raise InputError("\n  ".join(["these cells failed:", *failed]))


def unpacked(source: Path, work: Path) -> list[Job]:
    """The jobs of a pack; what they read lies in `work` then. A pack may be anybody's: it may run nothing but
    our own training, and neither write nor remove anything elsewhere."""
    try:
        with tarfile.open(source) as tar:
            content = json.load(tar.extractfile("jobs.json"))
            if content["code"] != code(ROOT):
                raise InputError(f"{ROOT}: its code is not the one of {source}; check out that commit")
            for job in content["jobs"]:
                check(job)
            deps = {dep: md5 for job in content["jobs"] for dep, md5 in job["deps"].items()}
            for dep in (stale := [dep for dep, md5 in deps.items() if digest(work / dep) != md5]):
                remove(work / dep)
            wanted = [m for m in tar if any(m.name == dep or m.name.startswith(f"{dep}/") for dep in stale)]
            tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.0-3.11.3
            tar.extractall(work, [m for m in wanted if m.isreg() or m.isdir()])
    except InputError:
        raise
    except (OSError, LookupError, ValueError, TypeError, AttributeError, tarfile.TarError) as error:
        raise InputError(f"{source}: cannot be unpacked ({error})") from error
    for dep in stale:
        if digest(work / dep) != deps[dep]:
            raise InputError(f"{source}: {dep} in it is damaged; copy the pack again")
    return content["jobs"]


def check(job: Job) -> None:
    """Raise ValueError for a job that is not the training of a cell within its own folders."""
    name, folder, (command,) = job["name"], job["folder"], job["cmd"]
    python, option, script, *words = shlex.split(command)
    where = os.path.normpath(os.path.join(folder, script))
    if [python, option, where] != ["python", "-B", SCRIPT] or not NAME.fullmatch(name):
        raise ValueError(f"{name}: not the training of a cell")
    paths = {"": [folder, *words], INPUTS: job["deps"], OUTPUTS: job["outs"]}
    for path, within in ((path, within) for within, found in paths.items() for path in found):
        inner = os.path.relpath(path, folder) if within else path
        if os.path.isabs(path) or ".." in path.split("/") or not inner.startswith(within):
            raise ValueError(f"{name}: the path {path} leads elsewhere")
    if not all(WORD.fullmatch(word) for word in words):
        raise ValueError(f"{name}: not a command of ours")


def accept(results: Path, ledger: Any, force: bool) -> None:
    """Give DVC each result that is what `make repro` would make now."""
    jobs, refused = jobs_of(ledger), 0
    paths = sorted((results / "records").glob("*.json"))
    if not paths:
        raise InputError(f"{results}: no records/*.json in it; expected the folder that `run` wrote")
    for path in paths:
        try:
            record = json.loads(path.read_bytes())
            job = jobs.get(record["name"])
            wrong = list(faults(record, job, results)) if job else ["this profile has no such cell"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            wrong = ["its record is damaged; copy it again"]
        others = [] if wrong else [o for o, md5 in record["written"].items() if digest(ROOT / o) != md5]
        if others and job["fresh"] and not force:
            wrong = [f"{others[0]}: another one is here already; FORCE=1 replaces it"]
        if wrong:
            refused += 1
            print("\n  ".join([f"refused {path.stem}:", *wrong]), file=sys.stderr)
        elif others:
            place(record, results, ledger)
            print(f"accepted {path.stem}")
    if refused:
        raise InputError(f"{refused} of {len(paths)} results were refused, and nothing of them taken over")


def faults(record: Job, job: Job, results: Path) -> Iterator[str]:
    """What speaks against a result: its job is another one now, or its files are not right."""
    for dep in sorted({dep for one in (record, job) for dep in one["deps"]}):
        if record["deps"].get(dep) != job["deps"].get(dep):
            kind = "configuration or code" if "configs" in Path(dep).parts else "data"
            yield f"{dep} differs: the {kind} has changed since; pack and run again"
    if any(record[key] != job[key] for key in SAME if key != "deps"):
        yield "dvc.yaml differs: the stage has changed since; pack and run again"
    for out in job["outs"]:
        files = [results / out, *(results / out).rglob("*")]
        odd = [f for f in files if f.is_symlink() or not (f.is_dir() or f.is_file() or not f.exists())]
        if odd or not (results / out).resolve().is_relative_to(results.resolve()):
            yield f"{[*odd, results / out][0]}: a link or no plain file; a result has none"
        elif record["written"].get(out) is None or digest(results / out) != record["written"][out]:
            yield f"{results / out} is not what its record says: damaged on the way; copy it again"


def place(record: Job, results: Path, ledger: Any) -> None:
    """Copy a result to where its stage writes it; then DVC takes it as from a worker."""
    for out in record["outs"]:
        remove(ROOT / out)
        (ROOT / out).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (results / out).is_dir() else shutil.copyfile
        copy(results / out, ROOT / out)
    with ledger.locked():
        ledger.finish(record["name"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="at home: write what training needs into one file")
    packing.add_argument("pack", type=Path)
    packing.add_argument("--cells", nargs="+", default=["*"], metavar="GLOB", help="default: all")
    running = commands.add_parser("run", help="elsewhere: train, or go on; needs neither DVC nor a network")
    running.add_argument("pack", type=Path)
    running.add_argument("--out", type=Path, required=True, help="folder of the results, to be taken back")
    accepting = commands.add_parser("accept", help="at home: take over the results that fit")
    accepting.add_argument("results", type=Path)
    accepting.add_argument("--force", action="store_true", help="replace other results that are here already")
    for each in (packing, accepting):
        each.add_argument("--profile", default="", help="default: the one of the root's dvc.yaml")
    args = parser.parse_args()
    with reported():
        if args.command == "run":
            run(args.pack.resolve(), args.out.resolve())
        else:
            from ledger import opened  # needs DVC, which is at home only

            target = (args.pack if args.command == "pack" else args.results).resolve()  # DVC goes elsewhere
            with opened(project(args.profile, ROOT), args.command) as ledger:
                if args.command == "pack":
                    pack(target, ledger, args.cells)
                else:
                    accept(target, ledger, args.force)
