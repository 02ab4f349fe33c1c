"""The backends of a PyConv layer: the same weights and the same result, at different speeds."""

from nnunet_pyconv.nn.backends.choice import available_backends, use_backend
from nnunet_pyconv.nn.backends.dispatch import backend_for, pyconv, workload_of
from nnunet_pyconv.nn.backends.scripted import ScriptedLevels
from nnunet_pyconv.nn.backends.spec import Workload

__all__ = ["ScriptedLevels", "Workload", "available_backends", "backend_for", "pyconv", "use_backend", "workload_of"]
