"""The extras of this package: what a part needs beyond the dependencies."""

from __future__ import annotations

import importlib.util
from typing import Literal

from nnunet_pyconv.errors import InputError

Extra = Literal["onnx", "report", "slurm"]
ONNX_MODULES = ("onnx", "onnxruntime", "onnxscript")
"""Of the extra onnx, what an export needs."""


def require_extra(extra: Extra, *modules: str) -> None:
    """Check that what an extra installs is there, before the work begins.

    Args:
        extra: The extra of pyproject.toml that has the modules.
        modules: The modules that are needed.

    Raises:
        InputError: One of them is not installed.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} is not installed; install the extra of this package, in the folder of its "
            f'repository: pip install ".[{extra}]"'
        )
