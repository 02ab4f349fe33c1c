"""Systems that are compared on the same cases, their names and the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import Dataset
from nnunet_pyconv.evaluation.metrics import Metric
from nnunet_pyconv.evaluation.scores import SystemScores
from nnunet_pyconv.evaluation.systems import System

BASELINE_RULE = (
    "configuration 2d_unet, else a stock trainer (nnUNetTrainer...) on plans with a network of nnU-Net's own, "
    "else the first by name"
)


@dataclass(frozen=True)
class Comparison:
    """Scored systems on one set of cases.

    Attributes:
        dataset: The dataset.
        cases_are: What the cases are, for example `validation cases of fold 0`.
        slug: For file names, for example `Dataset312_ISBICell_validation`.
        scores: One entry a system.
        names: What to call each system, in the same order.
        baseline: Index of the baseline.
        metrics: The scores, in the order of the columns.
    """

    dataset: Dataset
    cases_are: str
    slug: str
    scores: Sequence[SystemScores]
    names: Sequence[str]
    baseline: int
    metrics: Sequence[Metric]

    @property
    def cases(self) -> list[str]:
        """The cases' names, in the order of the values."""
        return [files.case for files in self.scores[0].system.cases]


def short_names(systems: Sequence[System], networks: Mapping[str, str]) -> list[str]:
    """Name systems by what they differ in.

    Args:
        systems: The systems.
        networks: Name of the network for a configuration, where it has one.

    Returns:
        The configuration, or its network, and of trainer and plans what is not common to all.
    """
    if any(len(system.parts) == 1 for system in systems):
        return [system.key for system in systems]
    trainers, plans, _ = ({system.parts[position] for system in systems} for position in range(3))
    names = []
    for system in systems:
        trainer, plans_name, configuration = system.parts
        name = [networks.get(configuration, configuration)]
        name += [trainer] if len(trainers) > 1 else []
        name += [plans_name] if len(plans) > 1 else []
        names.append(" · ".join(name))
    return names


def find_baseline(systems: Sequence[System], names: Sequence[str], wanted: str | None) -> int:
    """Choose what the others are compared with.

    Args:
        systems: The systems.
        names: Their short names.
        wanted: Key or short name of one of them; None follows `BASELINE_RULE`.

    Returns:
        Its index.

    Raises:
        InputError: No system of that name.
    """
    if wanted is not None:
        for index, (system, name) in enumerate(zip(systems, names, strict=True)):
            if wanted in (system.key, name):
                return index
        raise InputError(
            f"--baseline {wanted}: no such system; there are {', '.join(system.key for system in systems)}"
        )
    rules = (lambda system: system.parts[-1] == "2d_unet", _is_stock)
    for rule in rules:
        for index, system in enumerate(systems):
            if rule(system):
                return index
    return 0


def _is_stock(system: System) -> bool:
    trainer = system.parts[0]
    stock_trainer = trainer == "nnUNetTrainer" or trainer.startswith("nnUNetTrainer_")
    return stock_trainer and len(system.parts) == 3 and not system.network_class.startswith("nnunet_pyconv.")
