"""Systems that are compared on the same cases, their names and the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import Dataset
from nnunet_pyconv.evaluation.metrics import Metric
from nnunet_pyconv.evaluation.scores import SystemScores
from nnunet_pyconv.evaluation.systems import System


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
        baseline_because: Why it is that one.
        metrics: The scores, in the order of the columns.
    """

    dataset: Dataset
    cases_are: str
    slug: str
    scores: Sequence[SystemScores]
    names: Sequence[str]
    baseline: int
    baseline_because: str
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
        Of configuration (or its network), trainer and plans what is not common to all; for a single system the first.
    """
    if any(len(system.parts) == 1 for system in systems):
        return [system.key for system in systems]
    differs = [len({system.parts[position] for system in systems}) > 1 for position in range(3)]
    names = []
    for system in systems:
        trainer, plans, configuration = system.parts
        network = networks.get(configuration, configuration)
        parts = zip((network, trainer, plans), (differs[2], differs[0], differs[1]), strict=True)
        names.append(" · ".join(part for part, wanted in parts if wanted) or network)
    return names


def find_baselines(
    sets: Sequence[Sequence[System]], networks: Mapping[str, str], wanted: str | None
) -> list[tuple[int, str]]:
    """Choose what the others are compared with, in each set of systems.

    The one that is wanted; where a set doesn't have it, the first with configuration `2d_unet`, else the first with a
    stock trainer (`nnUNetTrainer`, `nnUNetTrainer_...`) on plans with a network of nnU-Net's own, else the first.

    Args:
        sets: Systems on the same cases, for each set of cases.
        networks: As for `short_names`.
        wanted: Key or short name of one of them, or None.

    Returns:
        For each set its index, and which of the rules chose it.

    Raises:
        InputError: No set has a system of the name that is wanted.
    """
    found = [
        next(
            (
                (index, "given with --baseline")
                for index, (system, name) in enumerate(zip(systems, short_names(systems, networks), strict=True))
                if wanted in (system.key, name)
            ),
            None,
        )
        for systems in sets
    ]
    if wanted is not None and not any(found):
        keys = dict.fromkeys(system.key for systems in sets for system in systems)
        raise InputError(f"--baseline {wanted}: no such system; there are {', '.join(keys)}")
    return [given or _default_baseline(systems) for given, systems in zip(found, sets, strict=True)]


def _default_baseline(systems: Sequence[System]) -> tuple[int, str]:
    for rule, because in _BASELINE_RULES:
        for index, system in enumerate(systems):
            if rule(system):
                return index, because
    return 0, "the first, since none has configuration 2d_unet or is stock nnU-Net"


def _is_paper_unet(system: System) -> bool:
    return system.parts[-1] == "2d_unet"


def _is_stock(system: System) -> bool:
    trainer = system.parts[0]
    stock_trainer = trainer == "nnUNetTrainer" or trainer.startswith("nnUNetTrainer_")
    return stock_trainer and len(system.parts) == 3 and not system.network_class.startswith("nnunet_pyconv.")


_BASELINE_RULES = (
    (_is_paper_unet, "by default the one with configuration 2d_unet"),
    (_is_stock, "by default a stock trainer on plans with a network of nnU-Net's own"),
)
