"""Compile the C library for this processor, once, into a folder of the user's cache.

The library is compiled at its first use, never at import. A binary that a wheel ships in `prebuilt/` (made by
`python -m nnunet_pyconv.nn.backends.native.build FOLDER`) is taken where there is one.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

SOURCES = Path(__file__).parent / "csrc"
PREBUILT = Path(__file__).parent / "prebuilt"
INTERFACE = 2
"""The `pyconv_interface` of the C source that `kernel.py` is written for."""

COMMON_FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden")
VARIANTS = {
    "avx512": (
        *("-DPYCONV_AVX512", "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma"),
        "-mprefer-vector-width=512",
    ),
    "avx2": ("-DPYCONV_AVX2", "-mavx2", "-mfma"),
    "baseline": (),
}
"""Compiler flags of each instruction set; the baseline is SSE2 on x86-64 and NEON on ARM."""


class BuildError(RuntimeError):
    """The library can't be had on this machine; the message says why and how to mend it."""


def variant() -> str:
    """Name the instruction set to use: the one that torch itself uses (`ATEN_CPU_CAPABILITY` lowers both)."""
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return next((name for name in VARIANTS if capability.startswith(name)), "baseline")


def library_name(variant: str) -> str:
    """Name the binary after all that decides its content: source, flags, platform."""
    content = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        content.update(source.name.encode() + b"\0" + source.read_bytes())
    content.update(repr((COMMON_FLAGS, VARIANTS[variant], sys.platform, platform.machine())).encode())
    return f"pyconv-{variant}-{content.hexdigest()[:16]}.so"


def cache_folder() -> Path:
    """Return `$NNUNET_PYCONV_CACHE`, or the folder for this package in the user's cache."""
    if folder := os.environ.get("NNUNET_PYCONV_CACHE"):
        return Path(folder)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nnunet_pyconv"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nnunet_pyconv"


def find_compiler() -> list[str]:
    """Return the command of the C compiler: `$CC`, or the first of cc, gcc and clang.

    Raises:
        BuildError: There is none.
    """
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    raise BuildError("no C compiler found (cc, gcc, clang); install one, for example the package gcc, or set CC")


def build(variant: str, folder: Path) -> Path:
    """Compile one variant into a folder; processes that do so at once do not see each other's unfinished file.

    Args:
        variant: A key of `VARIANTS`.
        folder: Where the binary and its checksum go; made if missing.

    Returns:
        The binary.

    Raises:
        BuildError: No compiler, or one that fails.
        OSError: The folder can't be written.
    """
    compiler = find_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / library_name(variant)
    with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as unfinished:
        binary = Path(unfinished) / target.name
        command = [*compiler, *COMMON_FLAGS, *VARIANTS[variant], str(SOURCES / "pyconv.c"), "-o", str(binary)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"the C compiler {compiler[0]} did not run ({error}); set CC to one that works") from error
        if done.returncode != 0:
            message = done.stderr.strip().splitlines()
            raise BuildError(
                f"the C compiler {compiler[0]} failed with status {done.returncode}: "
                f"{message[0] if message else 'no message'}; set CC to GCC 9, Clang 10 or newer"
            )
        checksum = Path(unfinished) / "checksum"
        checksum.write_text(_sha256(binary))
        # The binary first: whoever finds it without its checksum, or with another, builds it again.
        binary.replace(target)
        checksum.replace(_checksum_file(target))
    return target


def load() -> ctypes.CDLL:
    """Load the library for this processor: shipped, cached, or compiled now.

    Returns:
        The loaded library.

    Raises:
        BuildError: It can't be had; the message says why.
    """
    if sys.platform == "win32":
        raise BuildError("the compiled kernel needs Linux or macOS")
    name = library_name(variant())
    for folder in (PREBUILT, cache_folder()):
        if library := _load_checked(folder / name):
            return library
    try:
        library = _load_checked(build(variant(), cache_folder()))
    except OSError:  # a cache that can't be written
        with tempfile.TemporaryDirectory(prefix="nnunet_pyconv-") as temporary:
            library = _load_checked(build(variant(), Path(temporary)))
    if library is None:
        raise BuildError(
            f"the library that {find_compiler()[0]} compiled does not load on this machine ({platform.machine()}); "
            "set CC to a compiler for this processor"
        )
    return library


def _load_checked(path: Path) -> ctypes.CDLL | None:
    """Load a binary, or return None where it is missing, incomplete or for another machine.

    The checksum comes first, because to load a truncated file can end the process.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if _checksum_file(path).read_text() == _sha256(path):
            library = ctypes.CDLL(str(path))
            if ctypes.c_int64.in_dll(library, "pyconv_interface").value == INTERFACE:
                return library
    return None


def _checksum_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    for each in VARIANTS if platform.machine().lower() in ("x86_64", "amd64") else ["baseline"]:
        print(build(each, Path(sys.argv[1] if len(sys.argv) > 1 else PREBUILT)))
