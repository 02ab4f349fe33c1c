"""A model as a static page that segments within the browser."""

from nnunet_pyconv.export.web.write import check_for_page, check_page, write_page

__all__ = ["check_for_page", "check_page", "write_page"]
