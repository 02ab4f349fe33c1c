"""What killed processes left: half-written folders and checkpoints, which the next writer or the doctor clears away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.locks import is_locked
from nnunet_pyconv.nnunet_folders import VARIABLES, nnunet_folder_if_set
from nnunet_pyconv.trainers.robust_checkpoints import LOCK, PARTIAL
from nnunet_pyconv.writing import finish_or_remove, interrupted_targets


@dataclass(frozen=True)
class Leftover:
    """Something that a killed process left.

    Attributes:
        path: The folder or file that was being written, or the half-written file itself.
        is_target: Whether it was being written by `nnunet_pyconv.writing`.
    """

    path: Path
    is_target: bool

    def clear(self) -> None:
        """Finish what had nearly been done, else remove it.

        Raises:
            InputError: A process writes there now, or the disk fails.
        """
        if self.is_target:
            finish_or_remove(self.path)
        else:
            self.path.unlink(missing_ok=True)


def find_leftovers() -> list[Leftover]:
    """Look through nnU-Net's folders and the current one; what a running process writes is not among them."""
    folders = {Path.cwd()}
    for variable in VARIABLES:  # datasets lie in them, and in those plans, or models
        if base := nnunet_folder_if_set(variable):
            folders |= {base, *base.glob("Dataset*")}
    found = [Leftover(target, is_target=True) for folder in sorted(folders) for target in interrupted_targets(folder)]
    results = nnunet_folder_if_set("nnUNet_results")
    for fold in sorted(results.glob("Dataset*/*/fold_*")) if results else ():
        if not is_locked(fold / LOCK):
            found += [Leftover(file, is_target=False) for file in sorted(fold.glob(f"*.pth.*{PARTIAL}"))]
    return found
