"""A model as a static page that segments within the browser."""

from nnunet_pyconv.export.web.write import write_page

__all__ = ["write_page"]
