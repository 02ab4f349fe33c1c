"""Installing a package into `nnUNet_results`."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.paths import nnUNet_results
from packaging.requirements import Requirement

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing.archive import check_package, open_package
from nnunet_pyconv.sharing.manifest import MANIFEST, Manifest
from nnunet_pyconv.writing import whole_folder


@dataclass(frozen=True)
class Installed:
    """An installed model.

    Attributes:
        folder: Where it is.
        manifest: Of its package.
    """

    folder: Path
    manifest: Manifest


def install_model(file: Path, *, overwrite: bool = False) -> Installed:
    """Check a package, then write its model into `nnUNet_results`, whole or not at all.

    Nothing of it is loaded. The hashes show that it is what its maker packed; they don't show who that was.

    Args:
        file: The package.
        overwrite: Whether to replace a model of that name, with all its folds.

    Raises:
        InputError: `nnUNet_results` unset, a package that is damaged or unsafe or needs something that isn't installed,
            a model of that name, or no room for it.
    """
    results = nnUNet_results.get()
    if not results or not Path(results).is_dir():
        raise InputError(
            f"nnUNet_results is {'not set' if not results else f'{results}, which is no folder'}; make a folder for "
            'models and export nnUNet_results="/path/to/it"'
        )
    with open_package(file) as package:
        manifest = check_package(package)
        for requirement in map(Requirement, manifest.requires):
            _check_requirement(requirement)
        target = Path(results) / manifest.model
        if target.exists() and not overwrite:
            raise InputError(f"{target} is there already; replace it, with all its folds, with --overwrite")
        size_gb, free_gb = (
            number / 1e9
            for number in (sum(member.file_size for member in package.infolist()), shutil.disk_usage(results).free)
        )
        if size_gb > free_gb:
            raise InputError(f"the model takes {size_gb:.2f} GB and {results} has {free_gb:.2f} GB left; make room")
        with whole_folder(target) as folder:
            for name in (*manifest.sha256, MANIFEST):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with package.open(f"{manifest.model}/{name}") as stream, (folder / name).open("wb") as copy:
                    shutil.copyfileobj(stream, copy)
    return Installed(target, manifest)


def _check_requirement(requirement: Requirement) -> None:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    if version is None or not requirement.specifier.contains(version, prereleases=True):
        state = "is not installed" if version is None else f"{version} is installed"
        raise InputError(
            f"the model needs {requirement}, and {requirement.name} {state}; first: pip install '{requirement}'"
        )
