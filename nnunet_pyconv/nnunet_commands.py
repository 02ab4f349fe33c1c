"""Run nnU-Net's commands one after another, each as a step with a log; a later call can go on where one ended."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tqdm import tqdm

from nnunet_pyconv.child_processes import end_command_with_this_thread
from nnunet_pyconv.nnunet_folders import with_our_trainers
from nnunet_pyconv.terminations import terminations_raised

SECONDS_TO_END = 20
SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        name: What it does, in a word.
        command: Its words, as in a shell.
        environment: Variables that it needs beside those of this process.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.command)])


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: Which one.
        log: What its commands printed.
        failure: Why it isn't done; None if it is.
        ran: The names of the steps that ran now.
    """

    job: str
    log: Path
    failure: str | None
    ran: tuple[str, ...] = ()


def run_steps(job: str, steps: Iterable[Step], log: Path) -> Outcome:
    """Run steps until one fails; an interrupt ends the command that is running, and is raised.

    Args:
        job: What they belong to, for messages.
        steps: Asked for one by one, so that each sees what the one before it left.
        log: What they print is appended to it. Its lock says that a job is running, also when only a command of it has
            survived.

    Returns:
        How it ended.
    """
    ran: list[str] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as stream:
        if not _locked(stream):
            return Outcome(job, log, "is running already, in another process")
        for step in steps:
            print(f"{job}: {step.name} (log: {log})", flush=True)
            stream.write(f"\n$ {step}\n")
            stream.flush()
            try:
                status = _run(job, step, stream)
            except OSError as error:
                return Outcome(job, log, f"{step.name} can't be started: {error}", tuple(ran))
            if status != 0:
                return Outcome(job, log, f"{step.name} failed with status {status}", tuple(ran))
            ran.append(step.name)
    return Outcome(job, log, None, tuple(ran))


def _run(job: str, step: Step, log: IO[str]) -> int:
    # in a session of its own, so that it can be ended with all processes that nnU-Net starts
    process = subprocess.Popen(
        step.command,
        env={**os.environ, **variables_for_commands(), **step.environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_command_with_this_thread(),  # one call of the C library
    )
    try:
        with terminations_raised():
            return _wait(process, f"{job}: {step.name}", Path(log.name))
    except BaseException:
        _end(process)
        raise


def _wait(process: subprocess.Popen[bytes], text: str, log: Path) -> int:
    """Wait for a command, and show on a terminal in which epoch its log says that it is."""
    with log.open(errors="replace") as reader, tqdm(desc=text, unit=" epochs", leave=False, disable=None) as bar:
        reader.seek(0, os.SEEK_END)
        while True:
            try:
                return process.wait(SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                bar.update(reader.read().count("Epoch time:"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    if not hasattr(os, "killpg"):  # Windows
        process.kill()
        return
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)


def variables_for_commands() -> dict[str, str]:
    """Variables with which the commands of this installation and our trainers are found."""
    folders = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    return {"PATH": os.pathsep.join(folders), **with_our_trainers()}


def is_running(log: Path) -> bool:
    """Tell whether a job with that log is running, or a command of it that has survived."""
    if not log.is_file():
        return False
    with log.open("a") as stream:
        return not _locked(stream)


def _locked(stream: IO[str]) -> bool:
    """Take the lock of a file; commands that inherit the file keep it until they end."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
