"""The error for what a user gave, and how a command ends.

Both live in `nnunet_pyconv.runtime`, which imports nothing of the rest of the project.
"""

from __future__ import annotations

from nnunet_pyconv.runtime.errors import InputError, run_command

__all__ = ["InputError", "run_command"]
