"""The report: tables, figures and a page of what nnU-Net's results and predictions are worth."""

from nnunet_pyconv.evaluation.report.write import Request, write_report

__all__ = ["Request", "write_report"]
