"""Writing a file or a folder whole or not at all."""

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
    with _hidden_beside(target) as hidden, terminations_raised():
        new = hidden / "new"
        new.mkdir()
        yield new
        old = hidden / "old"
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise


@contextmanager
def whole_files(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Give new files to write; they take the places of `targets` when the block ends well.

    Args:
        targets: The files to make or to replace, all in one folder.

    Yields:
        The files to write, one for each target, with the names of the targets.

    Raises:
        InputError: A place that can't be written to.
    """
    with _hidden_beside(targets[0]) as hidden, terminations_raised():
        new = tuple(hidden / target.name for target in targets)
        yield new
        for file, target in zip(new, targets, strict=True):
            file.replace(target)


@contextmanager
def _hidden_beside(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside a file or folder, and remove it afterwards with what is left in it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise InputError(
            f"can't write into {target.parent}: {error.strerror}; make it writable, or choose another place"
        ) from error
    with temporary as hidden:
        yield Path(hidden)
