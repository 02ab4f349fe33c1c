"""Compiling the kernel, keeping it, and what happens where something goes wrong: another backend and one warning."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest
import torch
from backends import NO_KERNEL, needs_kernel

from nnunet_pyconv.nn import PyConv2d
from nnunet_pyconv.nn.backends import available_backends, use_backend
from nnunet_pyconv.nn.backends.native import build, cache, compiler, kernel
from nnunet_pyconv.nn.backends.user_cache import CacheError, open_cache


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As a process that has not loaded the kernel yet, with an empty cache; returns the folder of libraries."""
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "COMMON_FLAGS", tuple(flag.replace("-O3", "-O0") for flag in build.COMMON_FLAGS))
    monkeypatch.setattr(kernel, "_load", functools.lru_cache(maxsize=1)(kernel._load.__wrapped__))
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def no_temporary_folder(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")


@pytest.fixture
def fake_compiler(monkeypatch, tmp_path):
    """Put a shell script in the place of the C compiler; $output is the file that it should write."""

    def write(script: str) -> Path:
        path = tmp_path / "cc"
        answer = '[ "$1" = --version ] && { echo cc 1.0; exit; }'
        path.write_text(f"#!/bin/sh\n{answer}\nfor output; do :; done\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        return path

    return write


@pytest.fixture(scope="module")
def compiled():
    """The library that this process has loaded."""
    return cache.find(open_cache("kernels"), build.library_name(compiler.find_compiler()))


@pytest.fixture
def copying_compiler(compiled, fake_compiler):
    """A compiler that takes no time."""
    fake_compiler(f'cp "{compiled}" "$output"')


def as_of_a_new_process() -> str | None:
    kernel._load.cache_clear()
    return kernel.unavailable_because()


def assert_falls_back(match: str) -> None:
    layer, x = PyConv2d(16, 16), torch.randn(1, 16, 20, 20)
    with pytest.warns(UserWarning, match=match) as caught:
        y = layer(x)
    assert len(caught) == 1
    with warnings.catch_warnings():  # once only
        warnings.simplefilter("error")
        assert layer.backend_for(x) == "fold"
        layer(x)
    with use_backend("reference"):
        torch.testing.assert_close(y, layer(x))
    assert match in available_backends()["native"]  # what the doctor prints


@pytest.mark.usefixtures("fresh")
def test_no_compiler(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert_falls_back("no C compiler found")


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_fails(fake_compiler):
    fake_compiler("echo 'pyconv.c:1: too old' >&2; exit 3")
    assert_falls_back("failed with status 3: pyconv.c:1: too old")


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_crashes(fake_compiler):
    fake_compiler("kill -SEGV $$")
    assert_falls_back("failed with status -11: no message")


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert_falls_back("/nowhere/cc did not run")


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_can_not_be_read(monkeypatch):
    monkeypatch.setenv("CC", "gcc '-O2")
    assert_falls_back("can't be read")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("step", ["asked for its version", "compiling"])
def test_a_compiler_that_hangs(fake_compiler, monkeypatch, tmp_path, step):
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    path = fake_compiler(script)
    if step == "compiling":
        monkeypatch.setattr(compiler, "COMPILE_SECONDS", 0.5)
    else:
        path.write_text(f"#!/bin/sh\n{script}\n")
        monkeypatch.setattr(compiler, "ANSWER_SECONDS", 0.5)
    assert_falls_back("did not end within 0.5 s")
    child = Path("/proc", (tmp_path / "child").read_text().strip())
    for _ in range(100):  # killed, and perhaps not reaped yet
        if not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2]:
            return
        time.sleep(0.1)
    pytest.fail("what the compiler started still runs")


def elf(machine: int) -> str:
    """Shell that writes the header of a library for a machine."""
    return f"printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\3\\0\\{machine:o}\\0' > \"$output\""


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    "script",
    [":", ': > "$output"', 'head -c 5000 /dev/urandom > "$output"', elf(249)],
    ids=["nothing", "an empty file", "noise", "for a machine that nobody has"],
)
def test_a_compiler_that_writes_garbage(fake_compiler, script):
    fake_compiler(script)
    assert_falls_back("does not work on this machine")


FUNCTIONS = ("pyconv_forward", "pyconv_input_gradient", "pyconv_weight_gradient")


@needs_kernel
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("__attribute__((constructor)) static void f(void) { __builtin_trap(); }", "status -"),
        ("int other;", "undefined symbol"),
        ("".join(f"int {name}(void) {{ return 0; }}" for name in FUNCTIONS), "wrong numbers"),
        ("".join(f"int {name}(void) {{ return 1; }}" for name in FUNCTIONS), "no memory"),
    ],
    ids=["crashes", "another library", "computes nothing", "has no memory"],
)
def test_a_compiler_that_writes_another_library(fake_compiler, tmp_path, source, said):
    real = compiler.find_compiler().program[0]
    (tmp_path / "other.c").write_text(source)
    fake_compiler(f'{real} -shared -fPIC {tmp_path}/other.c -o "$output"')
    assert_falls_back(said)


@pytest.mark.usefixtures("fresh", "no_temporary_folder")
def test_nothing_can_be_written(fresh):
    fresh.parent.write_text("not a folder")
    assert_falls_back("can't be made")


@pytest.mark.usefixtures("fresh")
def test_whatever_else_goes_wrong(monkeypatch):
    def fail():
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(build, "find_compiler", fail)
    assert_falls_back("LookupError: nobody thought of this")


@needs_kernel
@pytest.mark.usefixtures("no_temporary_folder")
def test_compiled_once(fresh, monkeypatch):
    """Also without /tmp."""
    assert kernel.unavailable_because() is None
    (library,) = fresh.glob("*.so")
    assert library.stat().st_mode & 0o777 == fresh.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in fresh.iterdir()} == {library.name, "compiling.lock"}
    monkeypatch.setattr(build, "build", None)
    assert as_of_a_new_process() is None
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert as_of_a_new_process() is None  # a compiler that is gone isn't missed


def test_the_kernel_is_there_where_a_compiler_is():
    """Else a broken kernel would skip the tests of the kernel, and all would look well."""
    try:
        compiler.find_compiler()
    except compiler.BuildError as error:
        pytest.skip(str(error))
    assert NO_KERNEL is None


@needs_kernel
@pytest.mark.usefixtures("copying_compiler")
@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01\x01"], ids=["empty", "cut off"])
def test_a_damaged_library_is_not_loaded(fresh, content):
    assert kernel.unavailable_because() is None
    (library,) = fresh.glob("*.so")
    library.unlink()  # this process has mapped it
    library.write_bytes(content)
    library.chmod(0o700)
    assert cache.find(fresh, build.library_name(compiler.find_compiler())) is None
    assert as_of_a_new_process() is None
    assert library.stat().st_size > 1000  # compiled again


@needs_kernel
@pytest.mark.usefixtures("copying_compiler")
@pytest.mark.parametrize("kind", ["file in its place", "read-only", "no home"])
def test_a_cache_that_cannot_be_used(fresh, monkeypatch, kind):
    if kind == "read-only":  # chmod does not stop root
        real = Path.mkdir

        def mkdir(self, *args, **kwargs):
            if self == fresh:
                raise PermissionError(13, "Permission denied", str(self))
            real(self, *args, **kwargs)

        monkeypatch.setattr(Path, "mkdir", mkdir)
    elif kind == "file in its place":
        fresh.parent.write_text("not a folder")
    else:  # as a user id of a container has it
        for name in ("NNUNET_PYCONV_CACHE", "XDG_CACHE_HOME", "HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    reason = "no home folder" if kind == "no home" else "can't be made"
    with pytest.warns(UserWarning, match=f"anew for each process.*{reason}") as caught:
        assert kernel.unavailable_because() is None
    assert len(caught) == 1
    assert not fresh.is_dir()
    assert not Path("~").exists()


@needs_kernel
@pytest.mark.usefixtures("copying_compiler")
@pytest.mark.parametrize("whose", ["folder", "library", "folder of another", "library of another"])
def test_what_others_may_write_is_not_loaded(fresh, monkeypatch, whose):
    assert kernel.unavailable_because() is None
    (library,) = fresh.glob("*.so")
    name = build.library_name(compiler.find_compiler())
    assert cache.find(fresh, name) == library
    path = fresh if "folder" in whose else library
    if "another" not in whose:
        path.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if path == library:
        assert cache.find(fresh, name) is None
    else:
        with pytest.raises(CacheError, match="others may write"):
            open_cache("kernels")
        with pytest.warns(UserWarning, match="anew for each process.*others may write"):
            assert as_of_a_new_process() is None


@needs_kernel
@pytest.mark.usefixtures("copying_compiler")
def test_a_link_is_not_followed(fresh, tmp_path):
    assert kernel.unavailable_because() is None
    (library,) = fresh.glob("*.so")
    shutil.move(library, tmp_path / "elsewhere.so")
    library.symlink_to(tmp_path / "elsewhere.so")
    assert cache.find(fresh, build.library_name(compiler.find_compiler())) is None


def test_the_name_covers_all_that_decides_the_content(monkeypatch, tmp_path):
    gcc = compiler.Compiler(("gcc",), (), "gcc 12")
    others = [compiler.Compiler(("gcc",), ("-march=native",), "gcc 12"), compiler.Compiler(("gcc",), (), "gcc 13")]
    names = [build.library_name(each) for each in (gcc, *others)]
    monkeypatch.setattr(build, "_processor", lambda: "another processor")
    names.append(build.library_name(gcc))
    monkeypatch.setattr(build, "COMMON_FLAGS", ("-O1",))
    names.append(build.library_name(gcc))
    sources = tmp_path / "csrc"
    shutil.copytree(build.SOURCES, sources)
    (sources / "copy.h").write_text("")
    monkeypatch.setattr(build, "SOURCES", sources)
    names.append(build.library_name(gcc))
    assert len(set(names)) == len(names) == 6


@needs_kernel
@pytest.mark.usefixtures("fresh")
def test_cc_with_options(monkeypatch, fake_compiler, tmp_path):
    """They come last, and a program before the compiler is kept."""
    real = compiler.find_compiler().program[0]
    path = fake_compiler(f'echo "$@" > {tmp_path}/seen; exec {real} "$@"')
    monkeypatch.setenv("CC", f"env {path} -DFIRST -DSECOND")
    assert kernel.unavailable_because() is None
    seen = (tmp_path / "seen").read_text().split()
    assert seen.index("-std=gnu11") < seen.index("-DFIRST") < seen.index("-DSECOND") < seen.index("-o")


@pytest.mark.slow
@needs_kernel
def test_locale_c(fresh):
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = (
        "from nnunet_pyconv.nn.backends.native import build\n"
        f"build.COMMON_FLAGS = {build.COMMON_FLAGS}\n"
        "from nnunet_pyconv.nn.backends import available_backends; print(available_backends()['native'])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    assert list(fresh.glob("*.so"))


@pytest.mark.slow
@needs_kernel
def test_two_processes_at_once(fresh, fake_compiler, tmp_path):
    real = compiler.find_compiler().program[0]
    fake_compiler(f'echo once >> {tmp_path}/compiled; exec {real} "$@"')
    code = (
        "from nnunet_pyconv.nn.backends import available_backends\nfrom nnunet_pyconv.nn.backends.native import build\n"
        f"build.COMMON_FLAGS = {build.COMMON_FLAGS}\n"
        "print(available_backends()['native'])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in running] == ["None\n", "None\n"]
    assert (tmp_path / "compiled").read_text() == "once\n"
    assert not [path for path in fresh.iterdir() if path.name.startswith("compiling-")]


@needs_kernel
@pytest.mark.usefixtures("copying_compiler")
def test_a_disk_without_locks(fresh, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(cache.filelock.FileLock, "acquire", refuse)
    assert kernel.unavailable_because() is None
    assert list(fresh.glob("*.so"))


@needs_kernel
def test_the_limits_are_those_of_the_sources():
    for name, value in (("MAX_LEVELS", kernel.MOST_LEVELS), ("MAX_KERNEL", kernel.LARGEST_KERNEL)):
        assert any(f"#define {name} {value}\n" in source.read_text() for source in build.SOURCES.iterdir())


@pytest.mark.slow
@needs_kernel
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_lower_instruction_sets_compute_the_same(capability, monkeypatch):
    if build.variant() == "baseline":
        pytest.skip("this processor has no other instruction set")
    code = (
        "import torch; from nnunet_pyconv.nn import PyConv2d; from nnunet_pyconv.nn.backends import use_backend\n"
        "from nnunet_pyconv.nn.backends.native import build\n"
        f"build.COMMON_FLAGS = {build.COMMON_FLAGS}\n"
        "torch.manual_seed(0); m = PyConv2d(16, 16); x = torch.randn(2, 16, 37, 45, requires_grad=True); r = []\n"
        "for e in ('native', 'reference'):\n"
        "    with use_backend(e): y = m(x)\n"
        "    r.append([y, *torch.autograd.grad(y.square().sum(), [x, *m.parameters()])])\n"
        "for a, b in zip(*r): torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))\n"
        "print(build.variant())"
    )
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == {"default": "baseline", "avx2": "avx2"}[capability]
