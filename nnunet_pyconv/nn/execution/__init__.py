"""The executions of a PyConv layer: the same weights and the same result, at different speeds."""

import nnunet_pyconv.nn.execution.flops  # noqa: F401  # registers the counts
from nnunet_pyconv.nn.execution.choice import available_executions, execution
from nnunet_pyconv.nn.execution.dispatch import execution_for, pyconv

__all__ = ["available_executions", "execution", "execution_for", "pyconv"]
