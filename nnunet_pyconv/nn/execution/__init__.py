"""The executions of a PyConv layer: the same weights and the same result, at different speeds."""

from nnunet_pyconv.nn.execution.choice import available_executions, execution
from nnunet_pyconv.nn.execution.dispatch import execution_for, pyconv

__all__ = ["available_executions", "execution", "execution_for", "pyconv"]
