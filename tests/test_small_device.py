"""A light network predicts a slice on one thread and in 1 GB of memory, as on a small device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.io
from runtime_models import write_model

from nnunet_pyconv.benchmarks.designs.design import parse_design
from nnunet_pyconv.benchmarks.runtimes import designed_network
from nnunet_pyconv.export.onnx_network import to_onnx  # after the skip

LIMIT_BYTES = 10**9
EDGE = 512


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group of processes whose memory is limited, of either version of Linux's control groups."""
    group = next((root for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if root.is_dir()), None)
    if group is None:
        pytest.skip("no control groups here, only Linux has them")
    limit = "memory.limit_in_bytes" if group.name == "memory" else "memory.max"
    group = group / f"nnunet_pyconv_{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(LIMIT_BYTES))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


@pytest.mark.slow
def test_light_network_in_1_gb(small_memory: Path, tmp_path: Path) -> None:
    to_onnx(designed_network((EDGE, EDGE), parse_design("dilated-w0.5")), 1, (EDGE, EDGE), tmp_path / "network.onnx")
    model = write_model(tmp_path / "model.pyz", (tmp_path / "network.onnx").read_bytes(), patch_size=(EDGE, EDGE))
    (tmp_path / "images").mkdir()
    slice_ = np.random.default_rng(0).integers(0, 255, (EDGE, EDGE), np.uint8)
    skimage.io.imsave(tmp_path / "images" / "a_0000.png", slice_, check_contrast=False)
    command = [sys.executable, str(model), "-i", str(tmp_path / "images"), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        ["sh", "-c", f'echo $$ > "{small_memory}/cgroup.procs" && exec "$@"', "sh", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert skimage.io.imread(tmp_path / "out" / "a.png").shape == (EDGE, EDGE)
