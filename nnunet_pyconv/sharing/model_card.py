"""The model card: what a model is, what it scored and how to use it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing.manifest import Manifest
from nnunet_pyconv.sharing.model_folder import ModelFolder

MODEL_CARD = "MODEL_CARD.md"


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
    use = (
        f"```bash\npip install {' '.join(repr(requirement) for requirement in manifest.requires)}\n"
        f"nnunet_pyconv install model.zip\n{manifest.predict_command}\n```\n\n"
        "The checkpoints (`.pth`) are pickles, whose loading executes code: use them only if you trust their source. "
        "The `.safetensors` beside them hold the network's weights without code (`safetensors.torch.load_model`)."
    )
    return model_card_with(model, facts, manifest.versions, tables, f"## Install and predict\n\n{use}")


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
    labels = ", ".join(f"{name} ({value})" for name, value in model.dataset_json["labels"].items())
    channels = model.dataset_json.get("channel_names", model.dataset_json.get("modality", {}))
    epochs = ", ".join(f"fold {fold}: {number}" for fold, number in facts.epochs.items())
    cascade = configuration.previous_stage_name
    sections = [
        f"# {model.model.replace('/', ' ')}",
        "## Model",
        f"- Dataset: {model.path.parent.name}, {model.dataset_json.get('numTraining', 'unknown')} training cases\n"
        f"- Input: {', '.join(channels.values())}, {model.dataset_json['file_ending']} files\n"
        f"- Labels: {labels}\n"
        f"- Configuration: {model.configuration} of {model.plans.plans_name}; patch "
        f"{' x '.join(map(str, configuration.patch_size))}, batch {configuration.batch_size}\n"
        + (f"- Cascade: needs predictions of {cascade}, a model of its own\n" if cascade else "")
        + f"- Network: {configuration.network_arch_class_name}, trained by {facts.trainer.__name__}, "
        f"{facts.parameters:,} parameters\n"
        f"- Epochs: {epochs}; checkpoint {model.checkpoint}\n"
        f"- Made with: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        "## Validation",
        _validation(model),
        *(f"### {table.strip()}" for table in tables),
        "## Intended use",
        "*To be filled in: for which images and questions, and for which not. Not a medical device.*",
        "## Licence",
        "*To be filled in. The licence of the training data may limit that of the weights.*",
        use,
    ]
    return "\n\n".join(sections) + "\n"


def _validation(model: ModelFolder) -> str:
    lines = ["| fold | cases | Dice | IoU |", "|---|---:|---:|---:|"]
    for fold in model.folds:
        file = model.fold(fold) / "validation" / "summary.json"
        if not file.is_file():
            lines.append(f"| {fold} | not validated | | |")
            continue
        try:
            summary = json.loads(file.read_text("utf-8"))
            cases, mean = len(summary["metric_per_case"]), summary["foreground_mean"]
            scores = [_shown(mean[metric]) for metric in ("Dice", "IoU")]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is no summary of nnU-Net ({error!r}); validate again, with --val") from error
        lines.append(f"| {fold} | {cases} | {' | '.join(scores)} |")
    return "\n".join(lines) + "\n\nMeans over the foreground classes, from nnU-Net's `validation/summary.json`."


def _shown(score: float) -> str:
    return "undefined" if math.isnan(score) else f"{score:.4f}"
