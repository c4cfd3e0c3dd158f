"""The Dockerfile's own steps in a chroot, where no container engine runs: Debian from its mirror, each RUN
and COPY, and the command, as a user that the image does not know, with 64 MB of shared memory, as Docker has.
"""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from scripts import ROOT

PLACE = os.environ.get("ASM_CONTAINER", "")
LACKING = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
# Mounts vanish with the process that made them.
ENTER = """set -e
mount -t proc proc "$0/proc"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$0/dev/shm"
mount --bind "$1" "$0/asm"
shift
exec chroot "$@"
"""
USER = "1234:1234"


class Image:
    """What the instructions of a Dockerfile have made so far."""

    def __init__(self, root: Path) -> None:
        self.root, self.environment, self.folder = root, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, "/"

    def call(self, checkout: Path, command: str, *options: str) -> str:
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, str(self.root)]
        inside = ["sh", "-c", f"cd {shlex.quote(self.folder)} && {command}"]
        done = subprocess.run(
            [*words, str(checkout), *options, str(self.root), *inside],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
        return done.stdout

    def apply(self, kind: str, rest: str, empty: Path) -> None:
        if kind == "FROM":
            suite = rest.removeprefix("debian:").removesuffix("-slim")
            subprocess.run(["debootstrap", "--variant=minbase", suite, str(self.root)], check=True)
            for name in ("asm", "proc", "sys", "dev"):
                (self.root / name).mkdir(exist_ok=True)
            shutil.copy("/etc/resolv.conf", self.root / "etc" / "resolv.conf")
            if "PIP_CERT" in os.environ:  # of a network with certificates of its own
                shutil.copy(os.environ["PIP_CERT"], self.root / "pip.crt")
                self.environment["PIP_CERT"] = "/pip.crt"
        elif kind == "RUN":
            self.call(empty, rest)
        elif kind == "ENV":
            self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
        elif kind == "COPY":
            *sources, target = rest.split()
            for name in sources:
                copy = self.root / target.strip("/") / (name if target.endswith("/") else "")
                copy.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy)
        elif kind == "WORKDIR":
            self.folder = rest


def instructions() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    found = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(kind, rest) for kind, _, rest in found]


def test_what_the_image_copies_is_not_ignored():
    seen = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [name for kind, rest in instructions() if kind == "COPY" for name in rest.split()[:-1]]
    assert seen[0] == "*"
    assert sorted(copied) == sorted(name[1:] for name in seen if name.startswith("!"))
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not PLACE, reason="ASM_CONTAINER names no empty folder, for 7 GB and 15 minutes")
@pytest.mark.skipif(bool(LACKING) or os.geteuid() != 0, reason=f"needs root; lacking: {LACKING or 'root'}")
def test_the_image_runs_the_smallest_profile(tmp_path):
    checkout, empty = tmp_path / "checkout", tmp_path / "empty"
    empty.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
    for path in [checkout, *checkout.rglob("*")]:
        os.chown(path, *map(int, USER.split(":")), follow_symlinks=False)
    image = Image(Path(PLACE) / "root")
    *steps, (_, command) = instructions()
    for kind, rest in steps:
        image.apply(kind, rest, empty)
    printed = image.call(checkout, shlex.join(json.loads(command)), f"--userspec={USER}")
    assert "8/8" in printed
    assert (checkout / "profiles/smoke/reports/README.md").is_file()
    assert "audit" in image.call(empty, "asm-fer --help", f"--userspec={USER}")
