"""The names that plans, folders and commands share.

This module imports nothing, so that the command line can offer them without importing PyTorch.
"""

from __future__ import annotations

from typing import Literal

DEVICES = ("cpu", "cuda", "mps")
"""What nnU-Net's `-device` takes."""

FOLDS = ("0", "1", "2", "3", "4", "all")
"""What nnU-Net's `-f` takes."""

BACKENDS = ("native", "fold", "triton", "reference")
"""How a PyConv layer can be computed; see `nnunet_pyconv.nn.backends`."""

Block = Literal["plain", "bottleneck"]
"""What takes the place of a convolution; see `nnunet_pyconv.nn.convert_to_pyconv`."""

DEFAULT_SOURCE = "nnUNetPlans"
DEFAULT_OUTPUT = "nnUNetPyConvPlans"
PAPER_PLANS = "PyConvUNetPaperPlans"

PLANNERS = (
    "nnUNetPlannerPyConv",
    "nnUNetPlannerPyConvResEncM",
    "nnUNetPlannerPyConvResEncL",
    "nnUNetPlannerPyConvResEncXL",
)

DATASETS = ("isbi_cell", "kaggle_lung", "liver")
"""The paper's datasets: converters of dataset_conversion."""

PAPER_NETWORKS = ("pyconv_unet", "unet", "unet_plus_plus", "resnet34_unet", "attention_unet", "fcn8s")
"""The networks of the paper's Table 2."""

NETWORKS = (*PAPER_NETWORKS, "multires_unet")

RECIPES = {"paper": "nnUNetTrainerPyConvPaper", "nnunet": "nnUNetTrainerPyConv"}
"""The trainer of each recipe."""

EXECUTORS = ("local", "slurm")

SEED_VARIABLE = "NNUNET_PYCONV_SEED"
