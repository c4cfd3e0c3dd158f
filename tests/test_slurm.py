"""The grid on a real SLURM, tests/slurm.sh: two jobs, one of them cancelled in the middle of a cell."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from pretend_project import ROOT, Project, until

LACKING = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]
CLUSTER = """\
type: slurm
jobs: 2
cores: 1
processes: 1
memory: 500MB
walltime: 01:00:00
interface: lo
log_directory: {logs}
scheduler_options: {{dashboard_address: "127.0.0.1:0"}}
"""


@pytest.fixture
def slurm() -> Iterator[None]:
    if LACKING or os.geteuid() != 0:
        pytest.skip(
            f"needs root and Debian's slurmctld, slurmd, munge, slurm-client; lacking: {LACKING or 'root'}"
        )
    before = os.environ.get("SLURM_CONF")
    subprocess.run([ROOT / "tests" / "slurm.sh", "start"], check=True)
    os.environ["SLURM_CONF"] = "/tmp/slurm-of-one/slurm.conf"
    yield
    subprocess.run([ROOT / "tests" / "slurm.sh", "stop"], check=True)
    os.environ.pop("SLURM_CONF")
    if before is not None:
        os.environ["SLURM_CONF"] = before


def jobs(state: str = "RUNNING") -> list[str]:
    words = ["squeue", "--noheader", "--states", state, "--format", "%i"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_a_cancelled_job_costs_nothing_but_time(slurm, tmp_path):
    cells = {name: {"epochs": 4, "holds": 2} for name in "abc"}
    one, many = (Project(tmp_path / name, cells) for name in ("one", "many"))
    one.call("dvc", "repro")
    many.write("cluster.yaml", CLUSTER.format(logs=tmp_path / "logs"))
    many.write("hold", "")
    many.env["SLURM_CONF"] = os.environ["SLURM_CONF"]
    driver = many.start("--cluster", "cluster.yaml")
    until(lambda: len(list(many.path.glob("checkpoints/[abc]"))) == 2 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()[0]
    assert len(jobs()) == 2
    subprocess.run(["scancel", jobs()[0]], check=True)
    time.sleep(3)
    (many.path / "hold").unlink()
    output, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, output
    assert many.kept() == one.kept()
    assert sum(many.runs(f"train@{name}") for name in cells) == 4  # one of them twice
    until(lambda: not jobs() and not jobs("PENDING"), 60)  # nothing is left on the cluster
