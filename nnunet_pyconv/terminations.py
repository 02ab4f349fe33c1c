"""Terminations as exceptions; the predictor, which also works without this package, has the code."""

from nnunet_pyconv.runtime.terminations import terminations_raised

__all__ = ["terminations_raised"]
