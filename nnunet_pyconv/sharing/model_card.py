"""The model card: what a model is, what it scored and how to use it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.channel_names import channel_names
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.markdown import escape, table
from nnunet_pyconv.sharing.manifest import Manifest
from nnunet_pyconv.sharing.model_folder import ModelFolder
from nnunet_pyconv.sharing.requirements import install_command

INSTALL = "## Install and predict"
"""The heading of a package's last section."""


@dataclass(frozen=True)
class ModelFacts:
    """What the checkpoints tell.

    Attributes:
        trainer: Class of the trainer.
        parameters: Of the network.
        epochs: Epochs of training, by fold.
    """

    trainer: type[nnUNetTrainer]
    parameters: int
    epochs: Mapping[str, int]


def read_report(folder: Path, dataset: str) -> list[str]:
    """Read the Markdown tables of a dataset from a report.

    Raises:
        InputError: No report, or none of the dataset.
    """
    files = sorted((folder / "tables").glob(f"{dataset}_*.md"))
    if not files:
        raise InputError(f"--report {folder} has no tables/{dataset}_*.md; give a folder of nnunet_pyconv report -o")
    return [file.read_text("utf-8").replace("\n## ", "\n### ").removeprefix("## ") for file in files]


def model_card(model: ModelFolder, facts: ModelFacts, manifest: Manifest, tables: Sequence[str]) -> str:
    """Write a model card; intended use and licence are left to the one who shares.

    Args:
        model: The model.
        facts: What its checkpoints tell.
        manifest: Of the package, its hashes not needed.
        tables: Tables of a report, as Markdown that begins with the text of a third-level heading.
    """
    is_second_stage = model.configuration_manager.previous_stage_name is not None
    use = (
        f"```bash\n{install_command(manifest.requires)}\nnnunet_pyconv install model.zip\n"
        f"{manifest.predict_command(after_a_stage=is_second_stage)}\n```\n\n"
        "Where the package index has no nnunet-pyconv, install it from its repository: `pip install .` there.\n\n"
        "`nnunet_pyconv install` writes the checkpoints anew from the `.safetensors`, which run no code when they are "
        "read. The package's own `.pth` files are pickles, whose loading can run code: those who install it with "
        "`nnUNetv2_install_pretrained_model_from_zip` have to trust its source."
    )
    return model_card_with(model, facts, manifest.versions, tables, f"{INSTALL}\n\n{use}")


def model_card_with(
    model: ModelFolder, facts: ModelFacts, versions: Mapping[str, str], tables: Sequence[str], use: str
) -> str:
    """Write a model card for another kind of file.

    Args:
        model: The model.
        facts: What its checkpoints tell.
        versions: What the file was made with.
        tables: As of `model_card`.
        use: The last section, with its heading: how to use the file.
    """
    configuration = model.configuration_manager
    labels = ", ".join(f"{escape(name)} ({value})" for name, value in model.dataset_json["labels"].items())
    epochs = ", ".join(f"fold {fold}: {number}" for fold, number in facts.epochs.items())
    cascade = configuration.previous_stage_name
    sections = [
        f"# {escape(model.model.replace('/', ' '))}",
        "## Model",
        f"- Dataset: {escape(model.path.parent.name)}, {model.dataset_json.get('numTraining', 'unknown')} training "
        "cases\n"
        f"- Input: {escape(', '.join(channel_names(model.dataset_json)))}, {model.dataset_json['file_ending']} files\n"
        f"- Labels: {labels}\n"
        f"- Configuration: {escape(model.setup.configuration)} of {escape(model.plans.plans_name)}; patch "
        f"{' x '.join(map(str, configuration.patch_size))}, batch {configuration.batch_size}\n"
        + (f"- Cascade: needs predictions of {cascade}, a model of its own\n" if cascade else "")
        + f"- Network: {configuration.network_arch_class_name}, trained by {facts.trainer.__name__}, "
        f"{facts.parameters:,} parameters\n"
        f"- Epochs: {epochs}; checkpoint {model.checkpoint}\n"
        f"- Made with: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        "## Validation",
        _validation(model),
        *(f"### {text.strip()}" for text in tables),
        "## Intended use",
        "*To be filled in: for which images and questions, and for which not. Not a medical device.*",
        "## Licence",
        "*To be filled in. The licence of the training data may limit that of the weights.*",
        use,
    ]
    return "\n\n".join(sections) + "\n"


def _validation(model: ModelFolder) -> str:
    rows = []
    for fold in model.folds:
        file = model.fold(fold) / "validation" / "summary.json"
        if not file.is_file():
            rows.append([fold, "not validated", "", ""])
            continue
        try:
            summary = json.loads(file.read_text("utf-8"))
            mean = summary["foreground_mean"]
            rows.append([fold, str(len(summary["metric_per_case"])), *(_shown(mean[key]) for key in ("Dice", "IoU"))])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{file} is no summary of nnU-Net ({error!r}); validate again, with --val") from error
    lines = table(["fold", "cases", "Dice", "IoU"], rows, numeric=(1, 2, 3))
    return "\n".join(lines) + "\n\nMeans over the foreground classes, from nnU-Net's `validation/summary.json`."


def _shown(score: float) -> str:
    return "undefined" if math.isnan(score) else f"{score:.4f}"
