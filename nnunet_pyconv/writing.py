"""Writing a file or a folder whole or not at all, also where the process is killed.

What is new is written into a hidden folder beside its target, `.TARGET.nnunet_pyconv`, and takes the target's place at
the end. A lock beside that folder keeps other writers of the same target away. After a kill the hidden folder is still
there; the next writer of that target, or `nnunet_pyconv doctor --clean`, finishes or removes it. What it holds tells
how far the killed process had come:

- `new`: being written. The target was not touched, so it is removed.
- `ready`, and `old` if there was a target: a whole folder whose two renames had begun, so they are finished. This is
  for systems that can't swap two folders in one step; elsewhere `new` and the target change places.
- `ready_files`: whole files, some of which are in their places, so the others follow.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.exchange import exchange
from nnunet_pyconv.locks import is_locked, locked
from nnunet_pyconv.terminations import terminations_raised

MARK = ".nnunet_pyconv"
"""How the names of hidden folders end in which something is being written."""

Kind = Literal["folder", "file"]

_LOCK = f"{MARK}.lock"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@contextmanager
def whole_folder(target: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a new folder to fill; it takes the place of `target` when the block ends well.

    An error, an interrupt or a termination leaves the target, if there was one, as it was. Where the target is a link,
    the folder to which it leads is replaced.

    Args:
        target: The folder to make or to replace.
        overwrite: Whether to replace a folder; asked again here, since another process may just have made it.

    Yields:
        The folder to write into.

    Raises:
        InputError: What `check_target` refuses, another process that writes the same, or a disk that fails.
    """
    check_target(target, overwrite=overwrite)
    target = _followed(target)
    with _hidden_beside(target) as hidden:
        check_target(target, overwrite=overwrite)
        new = hidden / "new"
        new.mkdir()
        yield new
        if not target.exists():
            new.rename(target)
        elif not exchange(new, target):
            new.rename(hidden / "ready")
            _finish_folder(hidden, target)


@contextmanager
def whole_files(*targets: Path, overwrite: bool = True) -> Iterator[tuple[Path, ...]]:
    """Give new files to write; they take the places of `targets` when the block ends well.

    Args:
        targets: The files to make or to replace, all in one folder.
        overwrite: Whether to replace files.

    Yields:
        The files to write, one for each target, with the names of the targets.

    Raises:
        InputError: What `check_target` refuses, another process that writes the same, or a disk that fails.
    """
    for target in targets:
        check_target(target, overwrite=overwrite, kind="file")
    targets = tuple(map(_followed, targets))
    if len({target.parent for target in targets}) != 1:
        raise InputError(f"{', '.join(map(str, targets))} have to lie in one folder; remove the links among them")
    with _hidden_beside(targets[0]) as hidden:
        for target in targets:
            check_target(target, overwrite=overwrite, kind="file")
        new = hidden / "new"
        new.mkdir()
        yield tuple(new / target.name for target in targets)
        new.rename(hidden / "ready_files")
        _finish_files(hidden)


def check_target(target: Path, *, overwrite: bool = False, kind: Kind = "folder") -> None:
    """Check that a folder or file can be written, before the work for it begins.

    Args:
        target: The folder or file to write.
        overwrite: Whether it may be there already.
        kind: `folder` or `file`.

    Raises:
        InputError: A link that leads nowhere, something else of that name, a mount point or the current folder, which
            can't be replaced, a place that can't be written to, or, without `overwrite`, a target that is there.
    """
    try:
        for path in (target, *target.absolute().parents):
            if path.is_symlink() and not path.exists():
                raise InputError(
                    f"{path} is a link to {path.readlink()}, which is not there; make that folder, or remove the link"
                )
        real = _followed(target)
        if real.exists():
            _check_existing(target, real, overwrite=overwrite, kind=kind)
        folder = next(parent for parent in real.parents if parent.exists())
        if not folder.is_dir():
            raise InputError(f"can't write {target}: {folder} is no folder; choose another place")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"can't write into {folder}: permission denied; make it writable, or choose another place")
    except OSError as error:
        raise _not_written(target, error) from error


def interrupted_targets(folder: Path) -> list[Path]:
    """Return what was being written in a folder when its process was killed."""
    names = {
        path.name.removesuffix(".lock").removesuffix(MARK)[1:]
        for pattern in (f".*{MARK}", f".*{_LOCK}")
        for path in folder.glob(pattern)
    }
    targets = (folder / name for name in sorted(names) if name)
    return [target for target in targets if not is_locked(_lock_of(target))]


def finish_or_remove(target: Path) -> None:
    """Finish what was interrupted while it took a target's place; remove what was interrupted before.

    Raises:
        InputError: A process writes the target now, or the disk fails.
    """
    with _hidden_beside(target):
        pass


def _check_existing(target: Path, real: Path, *, overwrite: bool, kind: Kind) -> None:
    if real.is_dir() != (kind == "folder"):
        raise InputError(f"{target} exists already and is no {kind}; choose another name")
    if not overwrite:
        raise InputError(f"{target} exists already; replace it with --overwrite, or choose another name")
    if kind == "folder" and os.path.ismount(real):
        raise InputError(f"{target} is the root of a disk, which can't be replaced; choose a folder in it")
    if kind == "folder" and Path(os.path.realpath(Path.cwd())).is_relative_to(real):
        raise InputError(f"{target} is or holds the current folder, and would be replaced; choose another")


def _followed(target: Path) -> Path:
    return Path(os.path.realpath(target))


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{_LOCK}")


@contextmanager
def _hidden_beside(target: Path) -> Iterator[Path]:
    """Make the hidden folder of a target, after what a killed process left there; remove it afterwards."""
    hidden = target.with_name(f".{target.name}{MARK}")
    refusal = f"{target} is being written by another process; wait for it, or end it"
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock_of(target), refusal), terminations_raised():
            _recover(hidden, target)
            hidden.mkdir()
            try:
                yield hidden
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        of_ours = any(str(place) in str(error.filename) for place in (hidden, target))
        if not of_ours and error.errno not in _DISK:
            raise  # of a file that was read for it, for example
        raise _not_written(target, error) from error
    finally:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()  # where nothing was written into it


def _recover(hidden: Path, target: Path) -> None:
    if not hidden.is_dir():
        return
    if (hidden / "ready").exists():
        _finish_folder(hidden, target)
    elif (hidden / "ready_files").exists():
        _finish_files(hidden)
    shutil.rmtree(hidden)


def _finish_folder(hidden: Path, target: Path) -> None:
    old = hidden / "old"
    if target.exists():
        if old.exists():
            shutil.rmtree(old)
        target.rename(old)
    try:
        (hidden / "ready").rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def _finish_files(hidden: Path) -> None:
    for file in (hidden / "ready_files").iterdir():
        file.replace(hidden.parent / file.name)


def _not_written(target: Path, error: OSError) -> InputError:
    return InputError(
        f"can't write {target}: {error.strerror or error}; make room or make it writable, or choose another place"
    )
