"""The model card and the licence within a model file."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export.quantization import Quantized
from nnunet_pyconv.markdown import table
from nnunet_pyconv.runtime.model_file import MODEL_CARD
from nnunet_pyconv.sharing.model_card import INSTALL, ModelFacts, model_card_with
from nnunet_pyconv.sharing.model_folder import ModelFolder


def model_card_of(
    model: ModelFolder, facts: ModelFacts, versions: Mapping[str, str], quantized: Mapping[str, Quantized]
) -> str:
    """Return the card that lies in the model's folder, or write one whose intended use and licence are to be filled in.

    Where the card is one of `nnunet_pyconv share`, how to install its package makes room for how to use this file.

    Args:
        model: The model.
        facts: What its checkpoints tell.
        versions: What the file is made with.
        quantized: What 8 bit cost each fold, if they are used.

    Raises:
        InputError: A card that is no text.
    """
    ending = model.dataset_json["file_ending"]
    use = (
        "## Predict\n\n"
        "The file holds the network, its preprocessing and the predictor; it needs Python and a few packages, "
        "which it names.\n\n"
        f"```bash\npython model.pyz -i IMAGES -o PREDICTIONS  # IMAGES has case_0000{ending} and so on\n```\n\n"
        "So run, the file is a program: run it only if you trust its source. `nnunet_pyconv predict -m model.pyz` "
        "reads it as data and executes nothing of it."
    )
    own = model.path / MODEL_CARD
    if own.is_file():
        try:
            card = own.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{own} is no UTF-8 text ({error}); write it anew, or remove it") from error
        return re.sub(rf"^{INSTALL}\n.*?(?=^## |\Z)", lambda _: f"{use}\n\n", card, flags=re.S | re.M).rstrip() + "\n"
    sections = [_precision(quantized), use] if quantized else [use]
    return model_card_with(model, facts, versions, [], "\n\n".join(sections))


def _precision(quantized: Mapping[str, Quantized]) -> str:
    rows = [
        [fold, f"{result.dice_float:.4f}", f"{result.dice:.4f}", f"{result.in_float} of {result.convolutions}"]
        for fold, result in quantized.items()
    ]
    header = ["fold", "Dice in float32", "Dice in 8 bit", "convolutions in float32"]
    return "## Precision\n\nOn validation cases, patches not mirrored:\n\n" + "\n".join(table(header, rows))


def licence_text() -> str:
    """The licence of the predictor's code, which is this project's; the weights have that of the model card."""
    for file in importlib.metadata.files("nnunet-pyconv") or []:
        if file.name == "LICENSE":
            return file.read_text()
    return "Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
