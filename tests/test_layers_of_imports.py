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
    "evaluation": {"evaluation", "planning", "architectures", "benchmarks", "errors", "whole_folder"},
    "sharing": {"sharing", "trainers", "errors", "terminations", "whole_folder"},
    "reproduction": {"reproduction", "planning", "trainers", "trainer_dir", "terminations", "errors"},
}
WITHOUT_NNUNET = ("nn", "architectures")


def imported(folder: Path, pattern: str = "**/*.py") -> set[str]:
    modules = set()
    for file in folder.glob(pattern):
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


def test_within_evaluation() -> None:
    """The metrics know nothing of the rest, and the rest nothing of the report."""
    base = "nnunet_pyconv.evaluation."
    of_metrics, of_evaluation = (
        {module.removeprefix(base).split(".")[0] for module in imported(folder, "*.py") if module.startswith(base)}
        for folder in (PACKAGE / "evaluation" / "metrics", PACKAGE / "evaluation")
    )
    assert of_metrics == {"metrics"}
    assert "metrics" in of_evaluation
    assert "report" not in of_evaluation


@pytest.mark.parametrize("folder", WITHOUT_NNUNET)
def test_networks_do_without_nnunet(folder: str) -> None:
    assert not [module for module in imported(PACKAGE / folder) if module.startswith("nnunetv2")]
