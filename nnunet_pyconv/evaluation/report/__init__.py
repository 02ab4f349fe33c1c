"""The report: tables, figures and one page, from what nnU-Net wrote."""

from nnunet_pyconv.evaluation.report.request import ReportRequest
from nnunet_pyconv.evaluation.report.write import Report, require_extra, write_report

__all__ = ["Report", "ReportRequest", "require_extra", "write_report"]
