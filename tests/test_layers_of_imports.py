"""Imports run one way: nn <- architectures <- trainers; planning and evaluation beside them; the commands on top."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nnunet_pyconv"

# what each folder may import of this package
ALLOWED = {
    "nn": {"nn"},
    "architectures": {"architectures", "nn"},
    "trainers": {"trainers", "architectures", "nn"},
    "trainer_dir": {"trainers"},
    "planning": {"planning", "architectures", "nn", "errors"},
    "evaluation": {"evaluation", "planning", "architectures", "benchmarks", "errors"},
    "reproduction": {"reproduction", "planning", "trainers", "trainer_dir", "terminations", "errors"},
}
WITHOUT_NNUNET = ("nn", "architectures")


def imported(folder: Path) -> set[str]:
    modules = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(node.module or "")
    return modules


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_run_one_way(folder: str) -> None:
    ours = {module.split(".")[1] for module in imported(PACKAGE / folder) if module.startswith("nnunet_pyconv.")}
    assert ours <= ALLOWED[folder]


@pytest.mark.parametrize("folder", WITHOUT_NNUNET)
def test_networks_do_without_nnunet(folder: str) -> None:
    assert not [module for module in imported(PACKAGE / folder) if module.startswith("nnunetv2")]
