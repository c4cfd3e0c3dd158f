"""Kill what `make repro` consists of, at random moments, until enough has been killed; then compare.

`python tests/kills.py CLONE PROFILE UNDISTURBED --kills 30`: CLONE is a clone with its environment in which
PROFILE has not been run, UNDISTURBED the profile's folder in another clone where it has. Every run that is
killed is started again; a finished one is thrown away and begun anew until the kills are used up. At the end
dvc.lock, and with it all outputs, must be those of UNDISTURBED, but for what timing/ has and what reports it.
"""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml


def start(clone: Path, profile: str) -> subprocess.Popen:
    words = [str(clone / ".venv/bin/python"), "-B", "driver/repro.py", profile, "--jobs", "2"]
    with open(clone / "kills.log", "a") as log:
        return subprocess.Popen(words, cwd=clone, stdout=log, stderr=log, start_new_session=True)


def below(driver: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(driver.pid).children(recursive=True)
    except psutil.Error:
        return []


def kind(process: psutil.Process) -> str:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return "gone"
    return (
        "stage"
        if "/stages/" in words and "repro.py" not in words
        else "worker"
        if "spawn" in words
        else "gone"
    )


def locked(folder: Path) -> dict[str, dict[str, str]]:
    """Stage -> output -> MD5, without what differs from run to run."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage["outs"] if not out["path"].startswith("timing/")}
        for name, stage in stages.items()
        if name != "report"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clone", type=Path)
    parser.add_argument("profile")
    parser.add_argument("undisturbed", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pause", type=float, default=15, help="longest time between two, seconds")
    args = parser.parse_args()
    random.seed(0)
    killed: Counter[str] = Counter()
    python = str(args.clone / ".venv/bin/python")
    words = [python, "driver/project.py", args.profile]
    home = Path(
        subprocess.run(words, cwd=args.clone, capture_output=True, text=True, check=True).stdout.strip()
    )
    ends: Counter[int] = Counter()
    while True:
        driver = start(args.clone, args.profile)
        while driver.poll() is None:
            deadline = time.monotonic() + random.uniform(0, args.pause)
            while driver.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            choice = random.choice(("driver", "worker", "stage", "stage"))
            if killed.total() >= args.kills or driver.poll() is not None:
                continue
            found = [each for each in below(driver) if kind(each) == choice]
            victim = psutil.Process(driver.pid) if choice == "driver" else random.choice(found or [None])
            if victim is None:
                continue
            before = below(driver)
            victim.kill()
            killed[choice] += 1
            if choice == "driver":
                driver.wait()
                left = psutil.wait_procs(before, timeout=30)[1]
                if left:
                    sys.exit(f"still there after the driver was killed: {[each.cmdline() for each in left]}")
        ends[driver.returncode] += 1
        print(
            f"{time.strftime('%X')} ended with {driver.returncode}; killed so far: {dict(killed)}", flush=True
        )
        if driver.returncode == 0:
            if locked(home) != locked(args.undisturbed):
                sys.exit(f"{home}: not what the undisturbed run left")
            subprocess.run([python, "-m", "dvc", "status", "--quiet"], cwd=home, check=True)
            print("the same as undisturbed", flush=True)
            if killed.total() >= args.kills:
                break
            subprocess.run(["git", "reset", "--quiet", "--hard"], cwd=args.clone, check=True)
            words = ["git", "clean", "-fdxq", "-e", ".venv", "-e", "kills.log", "."]
            subprocess.run(words, cwd=args.clone, check=True)
            subprocess.run([sys.executable, "driver/project.py", args.profile], cwd=args.clone, check=True)
    print(f"{killed.total()} kills, {dict(killed)}; ends of the driver: {dict(ends)}")


if __name__ == "__main__":
    main()
