"""What libraries raise on files that can't be read, as one error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_pyconv.errors import InputError


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Raise an InputError for whatever a library raises while it reads a file: each has its own kinds.

    Args:
        path: The file.
        what: What was expected, for the message: `TIFF`, for example.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]  # SimpleITK begins with its own files
        raise InputError(
            f"can't read {path}: {reason}. Expected a whole {what}; the file may be truncated, copy it again"
        ) from error


@contextmanager
def logged_errors_raised(name: str) -> Iterator[None]:
    """Raise what a library only logs as an error.

    tifffile reads a truncated stack as far as it goes, and says so in its log.

    Args:
        name: Of the library's logger.
    """
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign,assignment]
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if records:
        raise ValueError(records[0].getMessage())
