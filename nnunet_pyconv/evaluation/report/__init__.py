"""The report: tables, figures and one page, from what nnU-Net wrote."""

from nnunet_pyconv.evaluation.report.request import ReportRequest
from nnunet_pyconv.evaluation.report.write import MODULES, Report, write_report

__all__ = ["MODULES", "Report", "ReportRequest", "write_report"]
