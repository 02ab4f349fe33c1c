"""What a user imports: exported, loaded at its first use, and typed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import nnunet_pyconv

PACKAGE = Path(nnunet_pyconv.__file__).parent

USER_SCRIPT = """
import torch

from nnunet_pyconv import PyConv2d, UNet, convert_to_pyconv, nnUNetTrainerPyConv

layer = PyConv2d(64, 64)
y: torch.Tensor = layer(torch.zeros(1, 64, 8, 8))
network: UNet = convert_to_pyconv(UNet(3, 1))


class MyTrainer(nnUNetTrainerPyConv):
    pass


reveal_type(MyTrainer.save_checkpoint)
PyConv2d("64", 64)
"""


def test_every_name_is_exported() -> None:
    for name in nnunet_pyconv.__all__:
        assert getattr(nnunet_pyconv, name).__name__ == name
    assert set(nnunet_pyconv.__all__) <= set(dir(nnunet_pyconv))


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'nnunet_pyconv' has no attribute 'PyConv4d'"):
        nnunet_pyconv.PyConv4d  # noqa: B018  # the access is the test


def test_import_is_light() -> None:
    code = "import sys, nnunet_pyconv; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "nnunetv2"} & set(done.stdout.split())


@pytest.mark.slow
def test_a_users_script_type_checks(tmp_path: Path) -> None:
    """The package as pip installs it, without the plugin's own mypy settings; the last line is wrong on purpose."""
    venv.create(tmp_path / "env", with_pip=False)
    variables = {"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
    site_packages = Path(sysconfig.get_path("purelib", vars=variables))
    shutil.copytree(PACKAGE, site_packages / "nnunet_pyconv")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    script = tmp_path / "script.py"
    script.write_text(USER_SCRIPT)
    scripts = Path(sysconfig.get_path("scripts", vars=variables))
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(scripts / "python"), str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    revealed, error, summary = done.stdout.splitlines()
    assert "def (self: " in revealed
    assert 'Argument 1 to "PyConv2d" has incompatible type "str"; expected "int"' in error
    assert summary == "Found 1 error in 1 file (checked 1 source file)", done.stdout
