"""The paper's experiment: dataset x network x fold, through nnU-Net's own commands."""

from nnunet_pyconv.reproduction.cell import Cell
from nnunet_pyconv.reproduction.matrix import Request, cells_of, datasets_of
from nnunet_pyconv.reproduction.preparation import Preparation
from nnunet_pyconv.reproduction.reproduce import reproduce

__all__ = [
    "Cell",
    "Preparation",
    "Request",
    "cells_of",
    "datasets_of",
    "reproduce",
]
