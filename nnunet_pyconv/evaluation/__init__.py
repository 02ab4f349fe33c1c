"""Scores, statistics and the report, on top of nnU-Net's evaluation.

The report is `nnunet_pyconv.evaluation.report`, which needs the extra `report`.
"""

from nnunet_pyconv.evaluation.dataset import RawDataset, find_dataset
from nnunet_pyconv.evaluation.metrics import METRICS, ClassMetric, ImageMetric, LabelImage, MaskPair, Metric
from nnunet_pyconv.evaluation.models import Model
from nnunet_pyconv.evaluation.scores import ModelScores, score_models
from nnunet_pyconv.evaluation.training_log import TrainingLog, read_training_log

__all__ = [
    "METRICS",
    "ClassMetric",
    "ImageMetric",
    "LabelImage",
    "MaskPair",
    "Metric",
    "Model",
    "ModelScores",
    "RawDataset",
    "TrainingLog",
    "find_dataset",
    "read_training_log",
    "score_models",
]
