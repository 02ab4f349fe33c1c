"""nnU-Net folders of our own, apart from the user's."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainer_dir import TRAINER_DIR


@dataclass(frozen=True)
class Workspace:
    """A folder with nnU-Net's three folders below it.

    Attributes:
        folder: Where everything lies.
    """

    folder: Path

    @property
    def raw(self) -> Path:
        """nnUNet_raw."""
        return self.folder / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        """nnUNet_preprocessed."""
        return self.folder / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        """nnUNet_results."""
        return self.folder / "nnUNet_results"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All that a run writes into the folder, and that `clear` may remove."""
        return (self.raw, self.preprocessed, self.results)

    def prepare(self, *, overwrite: bool) -> None:
        """Make the folder and nnU-Net's three in it.

        Args:
            overwrite: Whether to replace what an earlier run wrote.

        Raises:
            InputError: The folder holds an earlier run and `overwrite` is false, or it holds something with the name of
                an output that no run wrote, which is never removed, or it can't be written.
        """
        existing = self._existing()
        if existing and not self._marker.exists():
            raise InputError(
                f"{self.folder} has a {existing[0].name} that no earlier run made; choose another folder with -o"
            )
        if existing and not overwrite:
            raise InputError(
                f"{self.folder} holds an earlier run; choose another folder with -o, or replace it with --overwrite"
            )
        self.clear()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._marker.touch()
            for folder in (self.raw, self.preprocessed, self.results):
                folder.mkdir()
        except OSError as error:
            raise InputError(
                f"can't write into {self.folder} ({error.strerror}); give another folder with -o"
            ) from error

    def clear(self) -> None:
        """Remove what a run wrote, and the folder if nothing else is in it."""
        if not self._marker.exists():
            return
        for path in [*self._existing(), self._marker]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        with contextlib.suppress(OSError):  # the user has put something into it
            self.folder.rmdir()

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Let nnU-Net see this workspace and our trainers, in this process alone."""
        ours = {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(TRAINER_DIR),
            # each of nnU-Net's workers imports torch: no more of them than there are cores
            "nnUNet_def_n_proc": str(min(os.cpu_count() or 1, 8)),
        }
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    @property
    def _marker(self) -> Path:
        """Shows that a run wrote the outputs: the user's own folders may have the same names."""
        return self.folder / ".nnunet_pyconv_workspace"

    def _existing(self) -> list[Path]:
        return [path for path in self.outputs if path.exists()]
