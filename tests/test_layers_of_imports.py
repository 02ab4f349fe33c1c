"""Imports run one way: every package and module is listed here with what it may import, and there is no circle."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nnunet_pyconv"
INSTALLED_BELOW = ("dataset_conversion", "plans")  # pyproject's package-dir

# what each part may import of the others, from the bottom to the top
ALLOWED: dict[str, set[str]] = {
    "runtime": set(),
    "errors": {"runtime"},
    "terminations": {"runtime"},
    "markdown": set(),
    "child_processes": set(),
    "checkpoints": {"errors"},
    "inference_network": set(),
    "locks": {"errors"},
    "device": {"errors"},
    "exchange": set(),
    "names": set(),
    "channel_names": set(),
    "cache_folder": set(),
    "extras": {"errors"},
    "writing": {"errors", "exchange", "locks", "terminations"},
    "nn": {"cache_folder", "names"},
    "architectures": {"nn"},
    "distillation": {"channel_names", "checkpoints", "errors", "inference_network", "names"},
    "trainers": {
        "architectures",
        "checkpoints",
        "child_processes",
        "distillation",
        "errors",
        "locks",
        "names",
        "nn",
    },
    "trainer_dir": {"trainers"},
    "nnunet_folders": {"errors", "trainer_dir"},
    "nnunet_commands": {"child_processes", "nnunet_folders", "terminations"},
    "paper": set(),  # names the networks' classes, and imports them when asked
    "plans": set(),
    "planning": {"architectures", "channel_names", "errors", "names", "nn", "nnunet_folders", "paper", "writing"},
    "dataset_conversion": {"errors", "names", "nnunet_folders", "writing"},
    "synthetic": {"errors", "trainer_dir"},
    "evaluation": {
        "cache_folder",
        "checkpoints",
        "child_processes",
        "errors",
        "extras",
        "markdown",
        "names",
        "nnunet_folders",
        "paper",
        "writing",
    },
    "benchmarks": {
        "architectures",
        "child_processes",
        "dataset_conversion",
        "device",
        "distillation",
        "errors",
        "evaluation",
        "export",
        "extras",
        "markdown",
        "names",
        "nn",
        "nnunet_commands",
        "nnunet_folders",
        "paper",
        "planning",
        "runtime",
        "sharing",
        "synthetic",
        "trainer_dir",
        "trainers",
        "writing",
    },
    "sharing": {
        "channel_names",
        "checkpoints",
        "errors",
        "inference_network",
        "markdown",
        "names",
        "nnunet_folders",
        "writing",
    },
    "export": {"channel_names", "errors", "markdown", "names", "nn", "nnunet_folders", "runtime", "sharing", "writing"},
    "reproduction": {
        "checkpoints",
        "dataset_conversion",
        "errors",
        "evaluation",
        "extras",
        "names",
        "nnunet_commands",
        "nnunet_folders",
        "paper",
        "trainers",
        "writing",
    },
    "demo": {"dataset_conversion", "errors", "evaluation", "synthetic"},
    "leftovers": {"locks", "nnunet_folders", "trainers", "writing"},
    "doctor": {
        "architectures",
        "checkpoints",
        "device",
        "errors",
        "leftovers",
        "nn",
        "nnunet_folders",
        "planning",
        "trainer_dir",
    },
}
ON_TOP = {"cli", "__init__", "__main__"}  # these may import everything, and nothing imports them
WITHOUT_NNUNET = ("nn", "architectures")
# what a model file needs besides Python itself; the last four only for images that they read
OF_RUNTIME = {"numpy", "scipy", "onnxruntime", "imageio", "tifffile", "SimpleITK", "nibabel"}


def parts() -> dict[str, list[Path]]:
    """Every package and module of nnunet_pyconv with its files."""
    found = {path.stem: [path] for path in PACKAGE.glob("*.py")}
    folders = [path for path in PACKAGE.iterdir() if list(path.glob("*.py"))]
    folders += [ROOT / name for name in INSTALLED_BELOW]
    return found | {folder.name: sorted(folder.rglob("*.py")) for folder in folders}


def imported_modules(files: list[Path]) -> set[str]:
    modules = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(node.module or "")
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def imported_parts(files: list[Path], all_parts: set[str]) -> set[str]:
    modules = [module.split(".") for module in imported_modules(files)]
    return {names[1] for names in modules if len(names) > 1 and names[0] == "nnunet_pyconv" and names[1] in all_parts}


def test_every_part_is_listed() -> None:
    assert set(parts()) == set(ALLOWED) | ON_TOP


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_run_one_way(part: str) -> None:
    assert imported_parts(parts()[part], set(parts())) - {part} == ALLOWED[part]


def test_there_is_no_circle() -> None:
    everything = parts()
    graph = {part: imported_parts(files, set(everything)) - {part} for part, files in everything.items()}
    graph["__init__"] = set()  # exports lazily, so that importing one part doesn't import all
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_within_evaluation() -> None:
    """The metrics know nothing of the rest, and the rest nothing of the report."""
    base = "nnunet_pyconv.evaluation."

    def imported(folder: Path) -> set[str]:
        modules = imported_modules(sorted(folder.glob("*.py")))
        return {module.removeprefix(base).split(".")[0] for module in modules if module.startswith(base)}

    assert imported(PACKAGE / "evaluation" / "metrics") == {"metrics"}
    assert "report" not in imported(PACKAGE / "evaluation")


@pytest.mark.parametrize("part", WITHOUT_NNUNET)
def test_networks_do_without_nnunet(part: str) -> None:
    assert not [module for module in imported_modules(parts()[part]) if module.startswith("nnunetv2")]


def test_the_runtime_needs_little() -> None:
    """It is copied into model files, which run where neither torch, nor nnU-Net, nor the rest of this project is."""
    foreign = {module.split(".")[0] for module in imported_modules(parts()["runtime"])} - set(sys.stdlib_module_names)
    assert foreign - {"nnunet_pyconv"} <= OF_RUNTIME
    assert not imported_parts(parts()["runtime"], set(parts())) - {"runtime"}


def test_no_test_imports_from_another_one() -> None:
    for test in (ROOT / "tests").rglob("test_*.py"):
        assert not [module for module in imported_modules([test]) if module.startswith("test_")], test.name
