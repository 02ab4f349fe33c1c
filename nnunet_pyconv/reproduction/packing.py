"""The results of runs as one file, with which another machine goes on."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from batchgenerators.utilities.file_and_folder_operations import load_json
from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_commands import is_running
from nnunet_pyconv.nnunet_folders import Setup, nnunet_folder
from nnunet_pyconv.reproduction.products import json_damage
from nnunet_pyconv.reproduction.run import Run
from nnunet_pyconv.trainers.robust_checkpoints import PARTIAL
from nnunet_pyconv.writing import check_target, whole_files


def pack(runs: Sequence[Run], file: Path, *, overwrite: bool = False) -> int:
    """Write what there is of runs into one tar file: checkpoints, predictions, summaries, logs, their times.

    Args:
        runs: The runs; those that haven't started are left out.
        file: The file to write.
        overwrite: Whether to replace it.

    Returns:
        How many runs it holds.

    Raises:
        InputError: A file that exists or can't be written, a run that is running, or no run that has started.
    """
    check_target(file, overwrite=overwrite, kind="file")
    started = [run for run in runs if run.folder.is_dir()]
    if not started:
        raise InputError(f"--pack {file}: none of these runs has started; choose others with --datasets and --networks")
    if running := [run for run in started if is_running(run.log)]:
        raise InputError(f"--pack {file}: {running[0]} is running; let it end, or end it, and pack then")
    results = nnunet_folder("nnUNet_results")
    paths = list(dict.fromkeys(path for run in started for path in _files_of(run)))
    # weights and images don't shrink further; links become files
    with whole_files(file) as (new,), tarfile.open(new, "w", dereference=True) as archive:
        for path in tqdm(paths, desc="packing", unit="file"):
            archive.add(path, path.relative_to(results).as_posix(), recursive=False)
    return len(started)


def _files_of(run: Run) -> Iterator[Path]:
    """The files of a run and of its model, without hidden and half-written ones."""
    model = run.folder.parent
    yield from sorted(path for path in model.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in sorted(run.folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(run.folder).parts)
        if path.is_file() and not hidden and not path.name.endswith(PARTIAL):
            yield path


def unpack(file: Path) -> list[str]:
    """Put the runs of a packed file into `nnUNet_results`.

    Nothing in the file is trusted: only files and folders below `DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION` are
    written, no links, and none outside.

    Args:
        file: What `pack` wrote.

    Returns:
        The folds that are new, as `DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION/fold_X`.

    Raises:
        InputError: No such file, another kind of file, folds that exist, or folds of a model that has other plans
            here; nothing is written then.
    """
    results = nnunet_folder("nnUNet_results")
    try:
        results.mkdir(parents=True, exist_ok=True)
        # beside the results, so that a fold is moved there as a whole
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=results) as hidden:
            with tarfile.open(file, "r:") as archive:
                members = archive.getmembers()
                for member in members:
                    _check(member, file)
                folds = sorted({"/".join(_parts(member)[:3]) for member in members if len(_parts(member)) > 3})
                if not folds:
                    raise InputError(f"--unpack {file} holds no run; expected a file of --pack")
                if existing := [fold for fold in folds if (results / fold).exists()]:
                    raise InputError(
                        f"--unpack {file}: {results / existing[0]} exists already; remove it to take the packed one"
                    )
                archive.extractall(hidden, members=members, filter="data")
            _require_same_models(Path(hidden), results, folds, file)
            _move(Path(hidden), results, folds)
    except FileNotFoundError as error:
        raise InputError(f"--unpack {file}: no such file") from error
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"--unpack {file} is damaged or not a file of --pack ({error})") from error
    return folds


def _parts(member: tarfile.TarInfo) -> tuple[str, ...]:
    return PurePosixPath(member.name).parts


def _check(member: tarfile.TarInfo, file: Path) -> None:
    """Raise an InputError for anything that `pack` doesn't write."""
    parts = _parts(member)
    fits = (
        member.isfile()
        and not member.issparse()
        and len(parts) >= 3
        and ".." not in parts
        and re.fullmatch(r"Dataset\d{3}_.+", parts[0])
        and Setup.parse(parts[1]) is not None
        and (len(parts) == 3 or re.fullmatch(r"fold_(\d+|all)", parts[2]))
    )
    if not fits:
        raise InputError(
            f"--unpack {file} holds {member.name!r}, which is no file of a run; expected a file of --pack, with "
            "DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION/fold_X/... alone"
        )


def _require_same_models(unpacked: Path, results: Path, folds: Sequence[str], file: Path) -> None:
    """Raise an InputError where a model is here whose other folds were trained by other plans."""
    for model in {PurePosixPath(fold).parent for fold in folds}:
        for name in ("plans.json", "dataset.json"):
            theirs, ours = unpacked / model / name, results / model / name
            if not (theirs.is_file() and ours.is_file()):
                continue
            for each, of in ((theirs, f"its {model}/{name}"), (ours, str(ours))):
                if damage := json_damage(each):
                    raise InputError(f"--unpack {file}: {of} {damage}; restore it from a copy")
            if load_json(str(theirs)) != load_json(str(ours)):
                raise InputError(
                    f"--unpack {file}: its {model}/{name} is another than {ours}, so its folds are of another model; "
                    "move that one away, or unpack into other results"
                )


def _move(unpacked: Path, results: Path, folds: Sequence[str]) -> None:
    """Move folds and the files of their models to their places; files of a model that is known stay as they are."""
    for fold in folds:
        target = results / fold
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in (unpacked / fold).parent.iterdir():
            if path.is_file() and not (target.parent / path.name).exists():
                path.rename(target.parent / path.name)
        (unpacked / fold).rename(target)
