"""Writing a folder whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.terminations import terminations_raised


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a new folder to fill; it takes the place of `target` when the block ends well.

    Until then it lies in a hidden folder beside the target; an error, an interrupt or a termination removes it and
    leaves the target, if there was one, as it was.

    Args:
        target: The folder to make or to replace.

    Yields:
        The folder to write into.

    Raises:
        InputError: A place that can't be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise InputError(
            f"can't write into {target.parent}: {error.strerror}; make it writable, or choose another place"
        ) from error
    with temporary as hidden, terminations_raised():
        new = Path(hidden) / "new"
        new.mkdir()
        yield new
        old = Path(hidden) / "old"
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
