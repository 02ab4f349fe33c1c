"""Compile the C library for this processor, once, into a folder of the user's cache.

The library is compiled at its first use, never at import. Options in `$CC` follow those given here. So the sanitizers
of GCC and Clang check the kernel, where Python runs with their runtime::

    export CC="gcc -fsanitize=address,undefined -fno-sanitize-recover=undefined -g -O1"
    runtime="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
    LD_PRELOAD="$runtime" ASAN_OPTIONS=detect_leaks=0 python -m pytest -n 0 tests/test_backend_contract.py
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import platform
import sys
import tempfile
import warnings
from pathlib import Path

import torch

from nnunet_pyconv.nn.backends.native import cache
from nnunet_pyconv.nn.backends.native.compiler import ANSWER_SECONDS, BuildError, Compiler, find_compiler, run
from nnunet_pyconv.nn.backends.user_cache import open_cache

SOURCES = Path(__file__).parent / "csrc"
PROBE = Path(__file__).parent / "probe.py"
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


def variant() -> str:
    """Name the instruction set to use: the one that torch itself uses (`ATEN_CPU_CAPABILITY` lowers both)."""
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return next((name for name in VARIANTS if capability.startswith(name)), "baseline")


def library_name(compiler: Compiler | None) -> str:
    """Name the library after all that decides what it is: sources, flags, processor and compiler; None stands for any.

    The processor counts since `$CC` may compile for just this one, on a cache that several machines share.
    """
    target = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        target.update(source.name.encode() + b"\0" + source.read_bytes())
    target.update(repr((COMMON_FLAGS, VARIANTS[variant()], sys.platform, _processor())).encode())
    made_by = "*" if compiler is None else hashlib.sha256(repr(compiler).encode()).hexdigest()[:16]
    return f"pyconv-{variant()}-{target.hexdigest()[:16]}-{made_by}"


def build(compiler: Compiler, folder: Path) -> Path:
    """Compile the library for this processor and try it; nobody sees an unfinished one.

    Args:
        compiler: The compiler.
        folder: Where the library goes; must exist.

    Returns:
        The library.

    Raises:
        BuildError: The compiler fails, or what it made doesn't work.
        OSError: The folder can't be written.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="compiling-") as unfinished:
        binary = Path(unfinished) / "pyconv.so"
        compiler.compile([*COMMON_FLAGS, *VARIANTS[variant()]], SOURCES / "pyconv.c", binary)
        status, output = run([sys.executable, "-I", str(PROBE), str(binary)], ANSWER_SECONDS)
        if status != 0:
            said = output.strip().splitlines()
            raise BuildError(
                f"the library that {compiler.program[0]} compiled does not work on this machine ({platform.machine()}; "
                f"{said[-1] if said else f'status {status}'}); set CC to a compiler for this processor"
            )
        return cache.store(binary, folder, library_name(compiler))


def load() -> ctypes.CDLL:
    """Load the library for this processor: cached, or compiled now.

    Where the cache can't be used, a warning says so, and the library is compiled for this process alone.

    Raises:
        BuildError: It can't be had; the message says why.
    """
    if sys.platform == "win32":
        raise BuildError("the compiled kernel needs Linux or macOS")
    try:
        return _load_from(open_cache("kernels"))
    except OSError as error:
        reason = error
    try:
        with tempfile.TemporaryDirectory(prefix="nnunet_pyconv-") as folder:
            library = ctypes.CDLL(str(build(find_compiler(), Path(folder))))
    except OSError as error:
        raise BuildError(f"{reason}; and there is no temporary folder instead ({error})") from error
    warnings.warn(f"PyConv compiles its kernel anew for each process: {reason}", stacklevel=2)
    return library


def _load_from(folder: Path) -> ctypes.CDLL:
    try:
        compiler = find_compiler()
    except BuildError:
        if found := cache.find(folder, library_name(None)):
            return ctypes.CDLL(str(found))
        raise
    name = library_name(compiler)
    if found := cache.find(folder, name):
        return ctypes.CDLL(str(found))
    with cache.one_at_a_time(folder):
        return ctypes.CDLL(str(cache.find(folder, name) or build(compiler, folder)))


def _processor() -> str:
    """Describe the processor by all that a compiler may adapt to."""
    description = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):  # Linux
        first = Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")[0]
        told = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
        description += "".join(line for line in first.splitlines() if line.startswith(told))
    return description
