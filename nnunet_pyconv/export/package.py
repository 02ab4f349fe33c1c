"""The model file: an executable zip archive (zipapp) of networks, description and predictor."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nnunet_pyconv
from nnunet_pyconv import runtime
from nnunet_pyconv.runtime.description import Description
from nnunet_pyconv.runtime.model_file import DATASET, DESCRIPTION, MODEL_CARD, PLANS

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = """import sys

sys.dont_write_bytecode = True  # there is nowhere to write it

from nnunet_pyconv.runtime.command import main

main(sys.argv[0])
"""


def write_package(
    file: Path,
    description: Description,
    networks: Mapping[str, Path],
    *,
    plans: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    model_card: str,
    licence: str,
) -> Description:
    """Write a model file.

    Args:
        file: To write.
        description: Of the model, without hashes.
        networks: The ONNX file of each network of the description, by its name there.
        plans: nnU-Net's plans.
        dataset_json: nnU-Net's `dataset.json`.
        model_card: Markdown.
        licence: Of the predictor's code.

    Returns:
        The description with the hashes.
    """
    texts = {PLANS: json.dumps(plans, indent=4), DATASET: json.dumps(dataset_json, indent=4), MODEL_CARD: model_card}
    with file.open("wb") as stream:
        stream.write(_SHEBANG)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            hashes = {}
            for name, text in texts.items():
                archive.writestr(name, text)
                hashes[name] = hashlib.sha256(text.encode()).hexdigest()
            for name, network in networks.items():
                archive.write(network, name, zipfile.ZIP_STORED)  # weights don't shrink, and load faster as they are
                hashes[name] = hashlib.sha256(network.read_bytes()).hexdigest()
            description = dataclasses.replace(description, sha256=hashes)
            archive.writestr(DESCRIPTION, description.to_json())
            archive.writestr("__main__.py", _MAIN)
            archive.writestr("LICENSE", licence)
            for source in _sources():
                archive.write(source, source.relative_to(_root().parent).as_posix())
    file.chmod(file.stat().st_mode | 0o111)
    return description


def _root() -> Path:
    return Path(nnunet_pyconv.__path__[0])


def _sources() -> list[Path]:
    """The modules that a model file needs: the runtime, and the package that it lies in."""
    return [_root() / "__init__.py", *sorted(Path(runtime.__path__[0]).rglob("*.py"))]
