"""Compiling the kernel, and what happens where that fails."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from backends import needs_kernel

from nnunet_pyconv.nn import PyConv2d
from nnunet_pyconv.nn.backends import available_backends, use_backend
from nnunet_pyconv.nn.backends.native import build, kernel


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has not loaded the kernel yet, with an empty cache."""
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "COMMON_FLAGS", tuple(flag.replace("-O3", "-O0") for flag in build.COMMON_FLAGS))
    kernel._load.cache_clear()
    yield tmp_path / "cache"
    kernel._load.cache_clear()


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Put a shell script in the place of the C compiler."""

    def write(script: str) -> None:
        path = tmp_path / "cc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))

    return write


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
    assert match in available_backends()["native"]


@pytest.mark.usefixtures("fresh")
def test_no_compiler(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert_falls_back("no C compiler found")


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_fails(compiler):
    compiler("echo 'pyconv.c:1: too old' >&2; exit 3")
    assert_falls_back("failed with status 3: pyconv.c:1: too old")


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert_falls_back("/nowhere/cc did not run")


@pytest.mark.usefixtures("fresh")
def test_a_binary_for_another_machine(compiler):
    # An ELF header of a machine that nobody has: the last argument of the command is the output.
    compiler(
        "for output; do :; done\nprintf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\3\\0\\371\\0' > \"$output\""
    )
    assert_falls_back("does not load on this machine")


@needs_kernel
def test_compiled_once(fresh, monkeypatch):
    assert kernel.unavailable_because() is None
    names = {path.name for path in fresh.iterdir()}
    assert names == {build.library_name(build.variant()), build.library_name(build.variant())[:-3] + ".sha256"}
    kernel._load.cache_clear()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert kernel.unavailable_because() is None


@needs_kernel
@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01\x01", None], ids=["empty", "cut off", "no checksum"])
def test_a_broken_cache_entry_is_built_again(fresh, content):
    binary = build.build(build.variant(), fresh)
    if content is None:
        binary.with_suffix(".sha256").unlink()
    else:
        binary.write_bytes(content)
    assert kernel.unavailable_because() is None
    assert build._load_checked(binary) is not None


@needs_kernel
@pytest.mark.parametrize("kind", ["file in its place", "read-only"])
def test_a_cache_that_cannot_be_written(fresh, monkeypatch, kind):
    if kind == "read-only":  # chmod does not stop root
        real = Path.mkdir

        def mkdir(self, *args, **kwargs):
            if self == fresh:
                raise PermissionError(13, "Permission denied", str(self))
            real(self, *args, **kwargs)

        monkeypatch.setattr(Path, "mkdir", mkdir)
    else:
        fresh.write_text("not a folder")
    assert kernel.unavailable_because() is None
    assert not fresh.is_dir()


@pytest.mark.slow
@needs_kernel
def test_two_processes_at_once(fresh):
    code = (
        "from nnunet_pyconv.nn.backends import available_backends\nfrom nnunet_pyconv.nn.backends.native import build\n"
        f"build.COMMON_FLAGS = {build.COMMON_FLAGS}\n"
        "print(available_backends()['native'])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in running] == ["None\n", "None\n"]
    assert not [path for path in fresh.iterdir() if path.name.startswith("building-")]
    assert kernel.unavailable_because() is None


@needs_kernel
def test_a_shipped_binary_needs_no_compiler(fresh, monkeypatch, tmp_path):
    build.build(build.variant(), tmp_path / "prebuilt")
    monkeypatch.setattr(build, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert kernel.unavailable_because() is None
    assert not fresh.exists()


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
