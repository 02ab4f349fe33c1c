"""The names that plans, folders and commands share.

This module imports nothing, so that the command line can offer them without importing PyTorch.
"""

from __future__ import annotations

from typing import Literal, get_args

DEVICES = ("cpu", "cuda", "mps")
"""What nnU-Net's `-device` takes."""

FOLDS = ("0", "1", "2", "3", "4", "all")
"""What nnU-Net's `-f` takes."""

BACKENDS = ("native", "fold", "triton", "reference")
"""How a PyConv layer can be computed; see `nnunet_pyconv.nn.backends`."""

Block = Literal["plain", "bottleneck", "dilated", "separable"]
"""What takes the place of a convolution; see `nnunet_pyconv.nn.blocks`."""

BLOCKS: tuple[Block, ...] = get_args(Block)

STOCK: Literal["stock"] = "stock"
PLANNED_BLOCKS: tuple[str, ...] = (*BLOCKS, STOCK)
"""The blocks of plans: one of `Block`, or "stock", which leaves the convolutions as they are."""

Part = Literal["network", "encoder", "decoder"]
"""Where in a U-Net blocks take the place of convolutions: everywhere, or in one of its halves alone."""

PARTS: tuple[Part, ...] = get_args(Part)

DEFAULT_SOURCE = "nnUNetPlans"
DEFAULT_OUTPUT = "nnUNetPyConvPlans"
PAPER_PLANS = "PyConvUNetPaperPlans"

FINAL_CHECKPOINT = "checkpoint_final.pth"
LATEST_CHECKPOINT = "checkpoint_latest.pth"
BEST_CHECKPOINT = "checkpoint_best.pth"

PLANNER_NAMES = (
    "nnUNetPlannerPyConv",
    "nnUNetPlannerPyConvResEncM",
    "nnUNetPlannerPyConvResEncL",
    "nnUNetPlannerPyConvResEncXL",
)

Recipe = Literal["paper", "nnunet"]
RECIPES: dict[Recipe, str] = {"paper": "nnUNetTrainerPyConvPaper", "nnunet": "nnUNetTrainer_50passes"}
"""The trainer of each recipe."""

STOCK_NNUNET = "stock"
"""What `reproduce --networks` calls nnU-Net's own 2D network with nnU-Net's own recipe."""

Protocol = Literal["paper", "clean"]
"""How a converted dataset sets its test images aside: they choose the best epoch, or have no part in the training."""

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

ExecutorKind = Literal["local", "slurm"]
"""Where `reproduce` runs its jobs: in its own process, or on a cluster."""

EXECUTORS: tuple[ExecutorKind, ...] = get_args(ExecutorKind)

SEED_VARIABLE = "NNUNET_PYCONV_SEED"

REPORT_FOLDER = "nnunet_pyconv_report"
"""Where a report goes, unless the user says otherwise."""
REPORT_TOLERANCE = 1.0
"""Of its normalised surface Dice, in mm or pixels."""
REPORT_PROCESSES = 4
"""Cases that it scores at a time."""
