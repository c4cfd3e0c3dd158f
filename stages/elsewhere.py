"""Train on a machine without DVC and without a network, and take the results back: pack, run, accept.

`pack` (at home) resolves a profile's training stages from dvc.yaml and puts what they read into one file. It
takes data/ and configs/ as they lie there: `dvc status` of the stages before should be clean. `make pack`
sees to that, except for initial weights that are there already (`make weights`).
`run` (elsewhere, in a clone of the same commit) runs the stages and records what each read and wrote.
`accept` (at home) takes over the results that belong to the present configuration, data and code, and prints
their stages for `dvc commit` (`make accept`).
"""

from checkout import ROOT

import argparse
import fnmatch
import functools
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from project import default_profile, project

from asm.errors import InputError, reported
from asm.files import exclusive

FORMAT = 2
CODE = ("asm/", "stages/")  # comes with the clone; data/ and configs/ travel in the pack
SCRIPTS = {"init": "stages/init.py", "train": "stages/train.py"}  # all that a pack may run
NAME, WORD = re.compile(r"(init|train)@\w[\w-]*"), re.compile(r"--[a-z]+|[\w./-]+")  # no --option=value
INPUTS, OUTPUTS = ("configs/", "data/"), ("runs/", "timing/", "data/init/")  # of a profile
VERSIONS = """import json, platform, torch
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
print(json.dumps({"device": device, "python": platform.python_version(), "torch": torch.__version__}))"""
Stage = dict[
    str, Any
]  # name, cmd, folder, deps, outs; in a pack deps are path -> sha256, None where it is made there


def resolve(name: str) -> tuple[str, dict[str, Stage]]:
    """The profile `name` ("": the default one) and its init stages, then its train stages, by name, as DVC
    reads them; all paths as seen from the root."""
    from dvc.repo import Repo  # at home only

    home = project(name, ROOT)
    groups: dict[str, dict[str, Stage]] = {"init": {}, "train": {}}
    for stage in Repo(home).index.stages:
        group = (stage.name or "").partition("@")[0]
        if group in groups:
            paths = {
                "folder": os.path.relpath(home, ROOT),
                "deps": [os.path.relpath(dep.fs_path, ROOT) for dep in stage.deps],
                "outs": [os.path.relpath(out.fs_path, ROOT) for out in stage.outs],
            }
            groups[group][stage.name] = {"name": stage.name, "cmd": stage.cmd, **paths}
    return name or default_profile(ROOT), groups["init"] | groups["train"]


def files(path: Path) -> list[Path]:
    """The file, or those in the folder (but not what Python leaves there), sorted."""
    inside = (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [path] if path.is_file() else sorted(inside)


def digest(path: Path) -> str | None:
    """sha256 of a file; of a folder, over its files' sorted relative paths and sha256; None: not there."""
    if path.is_dir():
        lines = sorted(f"{file.relative_to(path).as_posix()}\0{digest(file)}\n" for file in files(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    if not path.is_file():
        return None
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


known = functools.cache(digest)  # for data: large, read by many stages, and not edited meanwhile


def digests(folder: Path, paths: list[str]) -> dict[str, str | None]:
    return {path: digest(folder / path) for path in paths}


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def place(source: Path, target: Path) -> None:
    """Copy a file or folder over whatever is at `target`, which is never half of it."""
    partial = target.with_name(f"{target.name}.partial")
    remove(partial)
    for file in files(source):  # what the digest covers, and nothing else
        copy = partial / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    remove(target)
    partial.replace(target)


def pack(target: Path, name: str, patterns: list[str]) -> None:
    """Write the chosen cells, the initial weights that they lack, and what these stages read."""
    profile, stages = resolve(name)
    cells = [key.removeprefix("train@") for key in stages if key.startswith("train@")]
    for pattern in patterns:
        if not fnmatch.filter(cells, pattern):
            raise InputError(f"--cells {pattern}: profile {profile} has only the cells {', '.join(cells)}")
    chosen = [stages[f"train@{cell}"] for cell in cells if any(fnmatch.fnmatch(cell, p) for p in patterns)]
    inits = {out: stage for key, stage in stages.items() if key.startswith("init@") for out in stage["outs"]}
    read = dict.fromkeys(dep for stage in chosen for dep in stage["deps"])
    made_there = {dep: inits[dep] for dep in read if dep in inits and not (ROOT / dep).exists()}
    packed = []
    for stage in (*made_there.values(), *chosen):
        deps = {dep: None if dep in made_there else known(ROOT / dep) for dep in stage["deps"]}
        if missing := [dep for dep, sha in deps.items() if sha is None and dep not in made_there]:
            remedy = f"`dvc repro configs`, then `make faces` (both: `make pack PROFILE={name or profile}`)"
            raise InputError(f"{missing[0]}: not found, and {stage['name']} reads it; make it with {remedy}")
        packed.append({**stage, "deps": deps})
    content = {"format": FORMAT, "profile": profile, "stages": packed, "code": _code()}
    partial = target.with_name(f"{target.name}.partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, "pack.json", io.BytesIO(json.dumps(content, indent=1).encode()))
        for file in (file for dep in _inputs(packed) for file in files(ROOT / dep)):
            with open(file, "rb") as handle:
                _add(tar, file.relative_to(ROOT).as_posix(), handle)
    partial.replace(target)
    print(f"{target}: {len(packed)} stages of profile {profile}, {target.stat().st_size / 1e6:.0f} MB")


def _inputs(packed: list[Stage]) -> dict[str, str]:
    """What travels: path -> sha256."""
    deps = {dep: sha for stage in packed for dep, sha in stage["deps"].items()}
    return {dep: sha for dep, sha in sorted(deps.items()) if sha}


def _add(tar: tarfile.TarFile, name: str, content: BinaryIO) -> None:
    info = tarfile.TarInfo(name)  # neither owner nor date: the same inputs give the same bytes
    info.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    tar.addfile(info, content)


def run(source: Path, out: Path) -> None:
    """Run the stages in `<out>.work`; `out` receives what is finished, and only that travels back."""
    found = subprocess.run([sys.executable, "-c", VERSIONS], stdout=subprocess.PIPE, text=True)
    if found.returncode:
        raise InputError(f"{sys.executable}: this Python has no working torch")
    work = out.with_name(f"{out.name}.work")
    with exclusive(work):
        packed = _unpack(source, work)
        processes = os.environ.get(
            "ASM_PROCESSES", "1"
        )  # of each cell; batch normalisation sees their number
        about = {"profile": packed["profile"], **json.loads(found.stdout), "processes": processes}
        failed = []
        for stage in packed["stages"]:
            _check_code(packed["code"])  # each time: a run is long enough for a `git pull`
            if fault := _run_stage(stage, about, work, out):
                failed.append(f"{stage['name']}: {fault}")
                print(f"failed {failed[-1]}", file=sys.stderr, flush=True)
    print(f"{out}: {len(packed['stages']) - len(failed)} of {len(packed['stages'])} stages are finished")
    if failed:
        raise InputError("\n  ".join(["these stages failed:", *failed]))


def _code() -> dict[str, str | None]:
    """Path -> sha256 of all code, not only what stages name as their dependencies."""
    found = [file.relative_to(ROOT).as_posix() for folder in CODE for file in (ROOT / folder).rglob("*.py")]
    return digests(ROOT, sorted(found))


def _check_code(expected: dict[str, str]) -> None:
    found = _code()
    for path in sorted({*found, *expected}):
        if found.get(path) != expected.get(path):
            raise InputError(f"{ROOT / path}: differs; check out the commit that the pack was made from")


def _check_stage(stage: Stage) -> None:
    """Raise ValueError for one that is none of ours, or that would read or write outside its own folders. A
    pack, and what lies in it, may be anybody's."""
    name, folder, words = stage["name"], stage["folder"], shlex.split(stage["cmd"])
    where = [os.path.normpath(os.path.join(folder, word)) for word in words]
    if not NAME.fullmatch(name) or [*words[:2], *where[2:3]] != ["python", "-B", SCRIPTS[name.split("@")[0]]]:
        raise ValueError(f"{name}: not a stage of ours")
    if not all(WORD.fullmatch(word) for word in words):
        raise ValueError(f"{name}: not a command of ours")
    paths = {"": [folder, *where], INPUTS: stage["deps"], OUTPUTS: stage["outs"]}
    for path, within in ((path, within) for within, found in paths.items() for path in found):
        inner = path.removeprefix(f"{folder}/")
        if os.path.isabs(path) or ".." in path.split("/") or not inner.startswith(within):
            raise ValueError(f"{name}: the path {path} leads elsewhere")


def _unpack(source: Path, work: Path) -> dict[str, Any]:
    """Bring the inputs in `work` to those of the pack; returns its description."""
    try:
        with tarfile.open(source) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.0-3.11.3
            packed = json.load(tar.extractfile("pack.json"))
            if not isinstance(packed, dict):
                raise ValueError("its pack.json is none")
            if packed["format"] != FORMAT:
                raise InputError(f"{source}: format {packed['format']}, expected {FORMAT}; pack again")
            _check_code(packed["code"])  # before anything large is done
            for stage in packed["stages"]:
                _check_stage(stage)
            expected = _inputs(packed["stages"])
            stale = [dep for dep, sha in expected.items() if digest(work / dep) != sha]
            for dep in stale:
                remove(work / dep)
            inside = tuple(f"{dep}/" for dep in stale)
            wanted = [m for m in tar if m.name in stale or m.name.startswith(inside)]
            if odd := [m.name for m in wanted if not m.isreg() or ".." in m.name.split("/")]:
                raise ValueError(f"{odd[0]} is no plain file")
            tar.extractall(work, wanted)
    except InputError:
        raise
    except (OSError, LookupError, ValueError, TypeError, AttributeError, tarfile.TarError) as error:
        raise InputError(f"{source}: cannot be unpacked ({error})") from error
    for dep in stale:
        if digest(work / dep) != expected[dep]:
            raise InputError(f"{source}: {dep} in it is damaged; copy the pack again")
    return packed


def _run_stage(stage: Stage, about: dict[str, str], work: Path, out: Path) -> str | None:
    """Run one stage and record it, unless there is a record of just this; returns what went wrong."""
    for dep in (dep for dep, sha in stage["deps"].items() if sha is None):
        if not (out / dep).exists():
            return f"{dep} has not been made"
        place(out / dep, work / dep)
    deps = {dep: known(work / dep) for dep in stage["deps"]}
    wanted = {"profile": about["profile"], "stage": stage["name"], "cmd": stage["cmd"], "deps": deps}
    path = out / "records" / f"{stage['name']}.json"
    if _read_record(path).items() >= {**wanted, "outs": digests(out, stage["outs"])}.items():
        print(f"{stage['name']}: finished before")
        return None
    for old in (path, *(folder / each for each in stage["outs"] for folder in (out, work))):
        remove(old)  # as DVC does: nothing old stays among the new files
    words = shlex.split(stage["cmd"])
    print(f"{stage['name']}:", flush=True)
    started = time.monotonic()
    (work / stage["folder"]).mkdir(parents=True, exist_ok=True)
    words[:3] = [sys.executable, "-B", str(ROOT / SCRIPTS[stage["name"].partition("@")[0]])]
    status = subprocess.run(words, cwd=work / stage["folder"]).returncode
    seconds = round(time.monotonic() - started, 1)
    if status or None in digests(work, stage["outs"]).values():
        return f"exit status {status}; its own message is above"
    for each in stage["outs"]:
        (out / each).parent.mkdir(parents=True, exist_ok=True)
        (work / each).replace(out / each)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    outs = digests(out, stage["outs"])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    record = {**wanted, "outs": outs, "seconds": seconds, "date": date, **about}
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)  # last: what has a record is whole
    remove(work / stage["folder"] / "checkpoints" / stage["name"].removeprefix("train@"))
    return None


def _read_record(path: Path) -> dict[str, Any]:
    """The record, or {} where there is none or not a whole one."""
    try:
        record = json.loads(path.read_bytes())
        texts = [record[key] for key in ("profile", "stage", "cmd")]
        texts += [text for key in ("deps", "outs") for text in record[key].values()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return record if all(isinstance(text, str) for text in texts) else {}


def accept(results: Path, name: str, force: bool) -> None:
    """Put the results where DVC expects them, each only if it is what the pipeline would make now."""
    profile, stages = resolve(name)
    paths = sorted((results / "records").glob("*.json"))  # init@ before train@, which may start from it
    if not paths:
        raise InputError(f"{results}: no records/*.json in it; expected the folder that `run` wrote")
    refused = 0
    for path in paths:
        record = _read_record(path)
        if faults := list(_faults(record, profile, stages.get(record.get("stage")), results, force)):
            refused += 1
            print("\n  ".join([f"refused {path.stem}:", *faults]), file=sys.stderr)
            continue
        for out, sha in record["outs"].items():
            if digest(ROOT / out) != sha:
                place(results / out, ROOT / out)
        print(record["stage"], flush=True)
    if refused:
        raise InputError(f"{refused} of {len(paths)} results were refused, and nothing of them taken over")


def _faults(record: Stage, profile: str, stage: Stage | None, results: Path, force: bool) -> Iterator[str]:
    """What speaks against a result: its stage is or reads something else now, or its files are not right."""
    again = "has changed since; pack and run again"
    if not record:
        yield "its record is damaged; copy it again"
    elif record["profile"] != profile or stage is None:
        yield f"it is of profile {record['profile']}; {profile} was named, or has no such stage"
    elif record["cmd"] != stage["cmd"] or set(record["outs"]) != set(stage["outs"]):
        yield f"dvc.yaml differs: the stage {again}"
    elif odd := [path for out in stage["outs"] for path in _odd(results, results / out)]:
        yield f"{odd[0]}: a link, a cache or no plain file; a result has none"
    else:
        for dep in dict.fromkeys([*stage["deps"], *record["deps"]]):
            if record["deps"].get(dep) != known(ROOT / dep):
                kind = "configuration or code" if "configs" in Path(dep).parts else "data"
                yield f"{dep} differs: the {kind} {again}"
        for out, sha in record["outs"].items():
            if sha is None or digest(results / out) != sha:
                yield f"{results / out} is not what its record says: damaged on the way; copy it again"
            elif not force and digest(ROOT / out) not in (None, sha):
                yield f"{out}: another one is here already; --force (make accept FORCE=1) replaces it"


def _odd(results: Path, path: Path) -> Iterator[Path]:
    """What a result at `path` cannot hold: no digest would cover it."""
    if path.exists() and not path.resolve().is_relative_to(results.resolve()):
        yield path
    for each in (path, *path.rglob("*")):
        plain = each.is_dir() or each.is_file() or not each.exists()
        if each.is_symlink() or not plain or "__pycache__" in each.relative_to(path).parts:
            yield each


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="at home: write what training needs into one file")
    packing.add_argument("pack", type=Path)
    packing.add_argument("--profile", default="", help="default: the one of the root's dvc.yaml")
    packing.add_argument("--cells", nargs="+", default=["*"], metavar="GLOB", help="default: all")
    running = commands.add_parser("run", help="elsewhere: train, or go on; needs neither DVC nor a network")
    running.add_argument("pack", type=Path)
    running.add_argument("--out", type=Path, required=True, help="folder of the results, to be taken back")
    accepting = commands.add_parser("accept", help="at home: take over the results that fit, and name them")
    accepting.add_argument("results", type=Path)
    accepting.add_argument("--profile", default="", help="default: the one of the root's dvc.yaml")
    accepting.add_argument("--force", action="store_true", help="replace other results that are here already")
    args = parser.parse_args()
    with reported():
        if args.command == "pack":
            pack(args.pack, args.profile, args.cells)
        elif args.command == "run":
            run(args.pack.resolve(), args.out.resolve())
        else:
            accept(args.results, args.profile, args.force)
