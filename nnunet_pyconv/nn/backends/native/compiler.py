"""The C compiler: which one, what it calls itself, and a run of it that ends."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMPILE_SECONDS = 240
"""More than ten times what it takes on one busy core; a compiler that needs longer hangs."""
ANSWER_SECONDS = 30


class BuildError(RuntimeError):
    """The library can't be had on this machine; the message says why and how to fix it."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler that answered.

    Attributes:
        program: The words that start it, for example `("ccache", "gcc")`.
        options: The user's own, from `$CC`; they follow ours, and so overrule them.
        version: What it prints for `--version`.
    """

    program: tuple[str, ...]
    options: tuple[str, ...]
    version: str

    def compile(self, flags: Sequence[str], source: Path, target: Path) -> None:
        """Compile a file; temporary files go beside the target.

        Raises:
            BuildError: It fails, or doesn't end.
        """
        command = [*self.program, *flags, *self.options, str(source), "-o", str(target)]
        status, output = run(command, COMPILE_SECONDS, temporary=target.parent)
        if status != 0:
            lines = output.strip().splitlines()
            raise BuildError(
                f"the C compiler {self.program[0]} failed with status {status}: {lines[0] if lines else 'no message'}; "
                "set CC to GCC 9, Clang 10 or newer"
            )


def find_compiler() -> Compiler:
    """Return the C compiler: `$CC`, or the first of cc, gcc and clang.

    Raises:
        BuildError: There is none, or it doesn't answer.
    """
    given = os.environ.get("CC", "")
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise BuildError(f"CC={given!r} can't be read ({error}); set it to a C compiler, as CC=gcc") from error
    words = words or [found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))][:1]
    if not words:
        raise BuildError("no C compiler found (cc, gcc, clang); install one, for example the package gcc, or set CC")
    count = next((i for i, word in enumerate(words) if i > 0 and word.startswith("-")), len(words))
    program, options = tuple(words[:count]), tuple(words[count:])
    _, version = run([*program, "--version"], ANSWER_SECONDS)
    return Compiler(program, options, version)


def run(command: Sequence[str], seconds: float, temporary: Path | None = None) -> tuple[int, str]:
    """Run a command that may fail, hang, or leave processes behind.

    Args:
        command: The command.
        seconds: After so many, it and all that it started are killed.
        temporary: Folder for its temporary files.

    Returns:
        Exit status (negative: the signal that ended it), and what it printed.

    Raises:
        BuildError: It could not be started, or did not end in time.
    """
    environment = os.environ | {"LC_ALL": "C"}  # messages that any terminal can show
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)  # there need be no /tmp
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a group of its own, so that its children can be killed with it
        )
    except OSError as error:
        raise BuildError(f"{command[0]} did not run ({error}); set CC to a C compiler that works") from error
    with process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException as error:  # an interrupt as well must leave no compiler behind
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"{command[0]} did not end within {seconds:g} s; set CC to a C compiler that works"
                raise BuildError(message) from error
            raise
    return process.returncode, output.decode(errors="replace")
