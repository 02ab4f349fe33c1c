"""Scores, statistics and the report, on top of nnU-Net's evaluation.

The report is `nnunet_pyconv.evaluation.report`, which needs the extra `report`.
"""
