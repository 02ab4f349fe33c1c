"""Models that are compared on the same cases, their names and the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.evaluation.metrics import Metric
from nnunet_pyconv.evaluation.models import Model
from nnunet_pyconv.evaluation.scores import ModelScores


@dataclass(frozen=True)
class Baseline:
    """What the other models are compared with.

    Attributes:
        index: Its place among the models.
        reason: Why it is that one.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Scored models on one set of cases.

    Attributes:
        dataset: The dataset.
        description: What the cases are, for example `3 validation cases of fold 0`.
        slug: For file names, for example `Dataset312_ISBICell_validation`.
        scores: One entry a model.
        names: What to call each model, in the same order.
        baseline: What the others are compared with.
        metrics: In the order of the columns.
        wording: What the metrics' titles and meanings leave open, see `Metric`.
    """

    dataset: RawDataset
    description: str
    slug: str
    scores: Sequence[ModelScores]
    names: Sequence[str]
    baseline: Baseline
    metrics: Sequence[Metric]
    wording: Mapping[str, object] = field(default_factory=dict)

    @property
    def cases(self) -> list[str]:
        """The cases' names, in the order of the values."""
        return [files.case for files in self.scores[0].model.cases]


def short_names(models: Sequence[Model], network_names: Mapping[str, str]) -> list[str]:
    """Name models by what they differ in.

    Args:
        models: The models.
        network_names: Name of the network for a configuration, where it has one.

    Returns:
        Of configuration (or its network), trainer, plans and, of given predictions, the fold what is not common to all;
        for a single model the first. Names as given where one is not of a trained model.
    """
    of_setups = [(model.setup, model.predicted_by) for model in models if model.setup is not None]
    if len(of_setups) < len(models):
        return [model.name for model in models]
    parts = [
        (
            network_names.get(setup.configuration, setup.configuration),
            setup.trainer,
            setup.plans,
            f"fold {fold}" if fold else "",
        )
        for setup, fold in of_setups
    ]
    differs = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return [" · ".join(part for part, wanted in zip(each, differs, strict=True) if wanted) or each[0] for each in parts]


def find_baselines(
    sets: Sequence[Sequence[Model]], network_names: Mapping[str, str], wanted: str | None
) -> list[Baseline]:
    """Choose what the others are compared with, in each set of models.

    The one that is wanted; where a set doesn't have it, the first with configuration `2d_unet`, else the first with a
    stock trainer (`nnUNetTrainer`, `nnUNetTrainer_...`) on plans with a network of nnU-Net's own, else the first.

    Args:
        sets: Models on the same cases, for each set of cases.
        network_names: As for `short_names`.
        wanted: Name or short name of one of them, or None.

    Returns:
        The baseline of each set.

    Raises:
        InputError: No set has a model of the name that is wanted.
    """
    found = [
        next(
            (
                Baseline(index, "given with --baseline")
                for index, (model, name) in enumerate(zip(models, short_names(models, network_names), strict=True))
                if wanted in (model.name, name)
            ),
            None,
        )
        for models in sets
    ]
    if wanted is not None and not any(found):
        names = dict.fromkeys(model.name for models in sets for model in models)
        raise InputError(f"--baseline {wanted}: no such model; there are {', '.join(names)}")
    return [given or _default_baseline(models) for given, models in zip(found, sets, strict=True)]


def _default_baseline(models: Sequence[Model]) -> Baseline:
    for rule, reason in _BASELINE_RULES:
        for index, model in enumerate(models):
            if rule(model):
                return Baseline(index, reason)
    return Baseline(0, "the first, since none has configuration 2d_unet or is stock nnU-Net")


def _is_paper_unet(model: Model) -> bool:
    return (model.name if model.setup is None else model.setup.configuration) == "2d_unet"


def _is_stock(model: Model) -> bool:
    if model.setup is None or model.planned.network_class.startswith("nnunet_pyconv."):
        return False
    return model.setup.trainer == "nnUNetTrainer" or model.setup.trainer.startswith("nnUNetTrainer_")


_BASELINE_RULES = (
    (_is_paper_unet, "by default the one with configuration 2d_unet"),
    (_is_stock, "by default a stock trainer on plans with a network of nnU-Net's own"),
)
