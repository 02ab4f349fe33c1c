"""All that is worth measuring on a machine that is at hand for a short time: steps, the most important first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.nnunet_commands import Outcome, Step, run_steps
from nnunet_pyconv.writing import check_target

LIGHT = ("PyConv dilated", "PyConv separable", "PyConv bottleneck")
HALF = ("stock, half as wide", "PyConv, half as wide", "PyConv dilated, half as wide", "PyConv separable, half as wide")
IN_2D = ("--sizes", "512", "--batch", "12")
IN_3D = ("--more", "--sizes", "128", "--batch", "2")
EAGER = "f"
"""Of `nnUNet_compile`, which nnU-Net takes for yes where it is not set."""


@dataclass(frozen=True)
class KitStep:
    """A step: one subject of `nnunet_pyconv benchmark`.

    Attributes:
        name: Of the step, and of its folder.
        subject: What is measured.
        arguments: How, on a data-centre card.
        rehearsal: How, on whatever is at hand, in seconds.
        compiled: Whether nnU-Net compiles the networks, as it does by default on a GPU.
    """

    name: str
    subject: str
    arguments: tuple[str, ...] = ()
    rehearsal: tuple[str, ...] = ()
    compiled: bool = True

    def command(self, device: str, folder: Path, rehearse: bool) -> Step:
        """Return the command that makes this step."""
        words = [sys.executable, "-m", "nnunet_pyconv", "benchmark", self.subject]
        words += self.rehearsal if rehearse else self.arguments
        environment = {} if self.compiled else {"nnUNet_compile": EAGER}
        # what an earlier process was killed at may have left one of the two files
        return Step("measure", [*words, "-device", device, "-o", str(folder / self.name), "--overwrite"], environment)

    def is_done(self, folder: Path) -> bool:
        """Tell whether the tables of this step are written."""
        return all((folder / self.name / f"{self.subject}.{ending}").is_file() for ending in ("md", "json"))


@dataclass(frozen=True)
class Reproduction:
    """A step: the paper's networks on one of its datasets, which has to be converted before.

    Attributes:
        dataset: Key of the dataset.
    """

    dataset: str

    @property
    def name(self) -> str:
        """Of the step, and of the folder of its report."""
        return f"paper-{self.dataset}"

    def command(self, device: str, folder: Path, rehearse: bool) -> Step:
        """Return the command that trains what is left, in rehearsal the one that lists it."""
        words = [sys.executable, "-m", "nnunet_pyconv", "reproduce", "--datasets", self.dataset, "--seed", "1"]
        words += ["-device", device, "-o", str(folder / self.name)]
        return Step("reproduce", [*words, "--dry_run"] if rehearse else words)


def _network(name: str, size: Sequence[str], networks: Sequence[str], compiled: bool = True) -> KitStep:
    smallest = ("--more",) if "--more" in size else ()
    rehearsal = (*smallest, "--sizes", "16", "--batch", "1", "--rounds", "1", "--networks", networks[0])
    return KitStep(name, "network", (*size, "--networks", *networks), rehearsal, compiled)


STEPS: tuple[KitStep | Reproduction, ...] = (
    KitStep("layer", "layer", (), ("--cases", "1x8x16", "--rounds", "1")),
    _network("network-2d", IN_2D, ("PyConv", "PyConv level by level")),
    _network("network-3d", IN_3D, ("PyConv", "PyConv level by level")),
    KitStep("layer-more", "layer", ("--more",), ("--cases", "2x8x16", "--rounds", "1")),
    _network("network-2d-light", IN_2D, LIGHT),
    _network("network-3d-light", IN_3D, LIGHT),
    _network("network-2d-half", IN_2D, HALF),
    _network("network-3d-half", IN_3D, HALF),
    KitStep("predict", "predict", (), ("--sizes", "16", "--image", "24", "--rounds", "1")),
    KitStep("training_memory", "training_memory", (), ("--rounds", "1")),
    _network("network-2d-eager", IN_2D, ("PyConv", *LIGHT, *HALF), compiled=False),
    _network("network-3d-eager", IN_3D, ("PyConv", *LIGHT, *HALF), compiled=False),
    KitStep("scaling", "scaling", (), ("--largest", "64", "--rounds", "1")),
    KitStep("runtimes", "runtimes", (), ("--designs", "plain", "--patch", "32", "32", "--rounds", "1")),
    *map(Reproduction, ("liver", "kaggle_lung", "isbi_cell")),
)
"""The steps, the most important first. nnU-Net compiles in those of a network, on a GPU, unless they are eager."""


def run_kit(steps: Sequence[KitStep | Reproduction], device: str, folder: Path, rehearse: bool) -> list[Outcome]:
    """Run the steps whose tables are not there yet, each in a process of its own; one that fails leaves the others.

    Args:
        steps: The steps.
        device: "cpu" or "cuda".
        folder: Each step gets a folder in it, with `SUBJECT.md`, `SUBJECT.json` and `log.txt`.
        rehearse: Whether to measure the smallest sizes, to see that the steps run.

    Returns:
        How those ended that ran.

    Raises:
        InputError: A folder that can't be written.
    """
    for step in steps:
        check_target(folder / step.name, overwrite=True)
    outcomes = []
    for step in steps:
        if isinstance(step, KitStep) and step.is_done(folder):  # reproduce itself leaves out what is done
            print(f"{step.name}: done before, see {folder / step.name}")
            continue
        command = step.command(device, folder, rehearse)
        outcomes.append(run_steps(step.name, [command], folder / step.name / "log.txt"))
    return outcomes
