"""Whether what a step has to produce is there and whole: it loads, and it covers all cases.

Each function returns what is wrong, in words, and an empty text where nothing is.
"""

from __future__ import annotations

import json
import pickletools
from collections.abc import Collection
from pathlib import Path
from typing import Any

import blosc2
from nnunetv2.evaluation.evaluate_predictions import load_summary_json

from nnunet_pyconv.evaluation.dataset import RawDataset


def json_damage(file: Path) -> str:
    """Check a JSON file that holds an object."""
    try:
        content: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return f"can't be read ({error})"
    return "" if isinstance(content, dict) else "holds no JSON object"


def preprocessed_damage(folder: Path, cases: Collection[str]) -> str:
    """Check what nnU-Net's preprocessing leaves of cases: properties, image and labels."""
    for case in cases:
        for name in (f"{case}.pkl", f"{case}.b2nd", f"{case}_seg.b2nd"):
            file = folder / name
            try:
                if name.endswith(".pkl"):
                    with file.open("rb") as stream:  # walks through the instructions and executes none
                        for _ in pickletools.genops(stream):
                            pass
                else:
                    blosc2.open(str(file), mode="r")
            except Exception as error:  # each kind of damage raises another error
                return f"{folder.name}/{name} is missing or can't be read ({error})"
    return ""


def evaluation_damage(folder: Path, cases: Collection[str], dataset: RawDataset) -> str:
    """Check predictions and nnU-Net's `summary.json` of them.

    Args:
        folder: Where they lie.
        cases: The cases that have to be there.
        dataset: The dataset, whose reader reads the predictions.
    """
    ending = dataset.file_ending
    try:
        entries = load_summary_json(str(folder / "summary.json"))["metric_per_case"]
        evaluated = {Path(entry["prediction_file"]).name.removesuffix(ending) for entry in entries}
    except Exception as error:  # a file that is not nnU-Net's fails in many ways
        return f"summary.json can't be read ({error!r})"
    if missing := sorted(set(cases) - evaluated):
        return f"summary.json lacks {len(missing)} cases, {missing[0]} among them"
    for case in sorted(cases):
        file = folder / f"{case}{ending}"
        try:
            dataset.reader(file).read_seg(str(file))
        except Exception as error:  # each reader raises its own kinds
            return f"{file.name} is missing or can't be read ({error!r})"
    return ""
