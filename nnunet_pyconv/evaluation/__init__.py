"""Scores, statistics and the report, on top of nnU-Net's evaluation."""
