"""Console commands of this environment, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(command: str, *arguments: str, unset: tuple[str, ...] = (), succeeds: bool = True, **environment: str) -> str:
    """Run a command and return what it printed, which is shown where it ends otherwise than it should.

    Trainings have no workers.
    """
    env = {name: value for name, value in os.environ.items() if name not in unset}
    if command == "nnUNetv2_train":
        env["nnUNet_n_proc_DA"] = "0"
    env |= environment
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command)), *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == succeeds, done.stdout
    return done.stdout
