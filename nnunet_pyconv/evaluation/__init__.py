"""Tables and pictures on top of nnU-Net's evaluation."""

from nnunet_pyconv.evaluation.overlap import CaseOverlap, format_table, mean_overlap, read_overlaps
from nnunet_pyconv.evaluation.picture import save_picture

__all__ = ["CaseOverlap", "format_table", "mean_overlap", "read_overlaps", "save_picture"]
