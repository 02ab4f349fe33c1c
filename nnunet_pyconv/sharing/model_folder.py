"""A trained model's folder in `nnUNet_results`, to be shared, exported or measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pyconv.checkpoints import load_checkpoint
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.inference_network import build_inference_network
from nnunet_pyconv.nnunet_folders import Setup
from nnunet_pyconv.sharing.members import exported_members
from nnunet_pyconv.sharing.names import is_checkpoint, is_fold, parse_model


@dataclass(frozen=True)
class ModelFolder:
    """A trained model.

    Attributes:
        path: Its folder.
        model: `DATASET/TRAINER__PLANS__CONFIGURATION`.
        folds: Its folds to share in nnU-Net's order, `0` to `4` or `all`.
        checkpoint: Name of the checkpoint to share.
        plans: The plans.
        setup: Trainer, plans and configuration by name.
        dataset_json: nnU-Net's `dataset.json`.
    """

    path: Path
    model: str
    folds: tuple[str, ...]
    checkpoint: str
    plans: PlansManager
    setup: Setup
    dataset_json: dict[str, Any]

    @property
    def configuration_manager(self) -> ConfigurationManager:
        """nnU-Net's manager of the configuration."""
        return self.plans.get_configuration(self.setup.configuration)

    def fold(self, fold: str) -> Path:
        """The folder of a fold."""
        return self.path / f"fold_{fold}"

    def files(self) -> list[str]:
        """What nnU-Net's own export takes from here, as far as it is there, relative to the folder."""
        return [name for name in exported_members(self.folds, self.checkpoint) if (self.path / name).is_file()]

    def load_checkpoint(self, fold: str, *, trust: bool = False) -> dict[str, Any]:
        """Load a checkpoint.

        Raises:
            InputError: A file that can't be read or is not trusted, or is no checkpoint of nnU-Net.
        """
        file = self.fold(fold) / self.checkpoint
        content = load_checkpoint(file, trust=trust)
        if missing := {"network_weights", "trainer_name", "current_epoch", "init_args"} - content.keys():
            raise InputError(
                f"{file} is no checkpoint of nnU-Net: it has no {', no '.join(sorted(missing))}; train again, or "
                "choose another with -chk"
            )
        return content

    def build_network(self, trainer: type[nnUNetTrainer], weights: dict[str, Any], fold: str) -> nn.Module:
        """Build the network as nnU-Net does for inference, with the weights of a fold.

        Raises:
            InputError: Plans that give no network, or weights of another one.
        """
        try:
            network = build_inference_network(trainer, self.plans, self.configuration_manager, self.dataset_json)
            network.load_state_dict(weights)
        except Exception as error:  # whatever other plans make nnU-Net or torch raise
            raise InputError(
                f"{self.fold(fold) / self.checkpoint} does not fit the network that {trainer.__name__} makes of the "
                f"plans; expected what this training wrote: {shorten(str(error), 300)}"
            ) from error
        return network


def open_model(path: Path, folds: Sequence[str] | None, checkpoint: str) -> ModelFolder:
    """Open a trained model's folder.

    Args:
        path: For example `nnUNet_results/Dataset312_ISBICell/nnUNetTrainerPyConv__nnUNetPlans__2d`.
        folds: Folds to share; None for the numbered ones that have the checkpoint, or `all` where there is no other, as
            `nnUNetPredictor` finds them.
        checkpoint: Name of the checkpoint.

    Raises:
        InputError: No such folder, fold or checkpoint, or files missing or damaged.
    """
    path = path.absolute()  # names the model; links stay, for a dataset's folder may be one
    model = f"{path.parent.name}/{path.name}"
    if not path.is_dir():
        raise InputError(f"{path} is not there; give nnUNet_results/DatasetNNN_NAME/TRAINER__PLANS__CONFIG")
    _, setup = parse_model(model)
    if not is_checkpoint(checkpoint):
        raise InputError(f"-chk {checkpoint}: expected the name of a file, for example checkpoint_final.pth")
    have = [file.parent.name.removeprefix("fold_") for file in path.glob(f"fold_*/{checkpoint}")]
    have = _in_order(fold for fold in have if is_fold(fold))
    chosen = ([fold for fold in have if fold != "all"] or have) if folds is None else _in_order(set(folds))
    if not chosen or not set(chosen) <= set(have):
        raise InputError(
            f"{path} has {checkpoint} of {'folds ' + ', '.join(have) if have else 'no fold'}"
            f"{', and -f asks for ' + ', '.join(chosen) if chosen else ''}; finish the training, or choose others "
            "with -f or -chk"
        )
    try:
        dataset_json = load_json(str(path / "dataset.json"))
        plans = PlansManager(load_json(str(path / "plans.json")))
        plans.get_configuration(setup.configuration)
        if missing := {"labels", "file_ending"} - dataset_json.keys():
            raise KeyError(*sorted(missing))
    except Exception as error:  # missing, no JSON, or JSON of something else
        raise InputError(
            f"{path} has no usable plans.json and dataset.json ({error!r}); expected those that the training wrote"
        ) from error
    return ModelFolder(path, model, tuple(chosen), checkpoint, plans, setup, dataset_json)


def _in_order(folds: Iterable[str]) -> list[str]:
    """Sort as nnU-Net names the folder of a cross-validation: by number, and `all` behind."""
    return sorted(folds, key=lambda fold: (not fold.isdigit(), int(fold) if fold.isdigit() else 0, fold))
