"""The paper's experiment: dataset x network x fold, through nnU-Net's own commands."""

from nnunet_pyconv.reproduction.experiment import ExperimentRequest, preparations_of, runs_of
from nnunet_pyconv.reproduction.packing import pack, unpack
from nnunet_pyconv.reproduction.preparation import Preparation
from nnunet_pyconv.reproduction.reproduce import commands, reproduce, write_reports
from nnunet_pyconv.reproduction.run import Run

__all__ = [
    "ExperimentRequest",
    "Preparation",
    "Run",
    "commands",
    "pack",
    "preparations_of",
    "reproduce",
    "runs_of",
    "unpack",
    "write_reports",
]
