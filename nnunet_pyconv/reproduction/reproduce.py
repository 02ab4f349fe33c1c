"""Run the matrix and say how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_results
from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import PAPER_PLANS
from nnunet_pyconv.nnunet_commands import Outcome
from nnunet_pyconv.reproduction.cell import Cell
from nnunet_pyconv.reproduction.executor import Executor, Job
from nnunet_pyconv.reproduction.matrix import Request, cells_of, datasets_of


def reproduce(request: Request, executor: str, slurm_parameters: Mapping[str, Any]) -> tuple[list[Cell], list[Outcome]]:
    """Run what is left of a request: first the datasets' preparation, then the cells.

    Args:
        request: What to reproduce.
        executor: `local` or `slurm`.
        slurm_parameters: Of `submitit.SlurmExecutor`.

    Returns:
        The cells, and how each job that had something to do ended.

    Raises:
        InputError: A request that can't be met; nothing has run then.
    """
    datasets = datasets_of(request)
    for dataset in datasets:
        if not dataset.raw.exists():
            conversion = dataset.conversion(request.folds)
            raise InputError(f"{dataset.raw} does not exist; convert the dataset first: {conversion}")
    cells = cells_of(request, datasets)
    runner = Executor(executor, Path(nnUNet_results.require()) / "submitit", slurm_parameters)
    gpus = request.num_gpus if request.device == "cuda" else 0
    left = [cell for cell in cells if not cell.is_done]
    print(f"{len(cells) - len(left)} of {len(cells)} cells were done before", flush=True)
    unprepared = [dataset for dataset in datasets if not dataset.is_done]
    jobs: dict[Job, Any] = {dataset: runner.submit(dataset, 0, None) for dataset in unprepared}
    for cell in left:
        jobs[cell] = runner.submit(cell, gpus, jobs.get(cell.preparation))
    outcomes = []
    for job, submitted in tqdm(jobs.items(), unit="job"):
        try:
            outcomes.append(submitted.result())
        except Exception as error:  # of submitit, for a job that didn't end by itself
            outcomes.append(Outcome(str(job), Path(submitted.paths.stderr), f"was lost: {error!r}"))
    return cells, outcomes


def commands(request: Request, reports: Path) -> list[str]:
    """The lines of a dry run: all commands that are left, and as comments what is done.

    Args:
        request: What to reproduce.
        reports: See `report_commands`.

    Raises:
        InputError: A request that can't be met.
    """
    lines = ['export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"']
    datasets = datasets_of(request)
    cells = cells_of(request, datasets)
    jobs: list[Job] = [*datasets, *cells]
    for dataset in datasets:
        if not dataset.raw.exists():
            lines.append(f"# {dataset} is not converted; SRC is the folder of the downloaded data")
            lines.append(dataset.conversion(request.folds))
    for job in jobs:
        steps = list(job.steps())
        lines += [f"# {job}{'' if steps else ': done'}", *map(str, steps)]
    return [*lines, "# reports", *(shlex.join(["nnunet_pyconv", *words]) for words in report_commands(cells, reports))]


def report_commands(cells: Sequence[Cell], folder: Path) -> list[list[str]]:
    """The words of the commands that report on cells: for each dataset, its validation cases and its test images.

    Folds go together where the same networks are done in them; `all`, which has their cases too, stands alone.

    Args:
        cells: Finished cells.
        folder: Each report gets a folder in it; an earlier one of the same name is replaced.
    """
    networks: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        networks.setdefault((cell.preparation.dataset_id, cell.fold), []).append(cell)
    together: dict[tuple[object, ...], list[Cell]] = {}
    for (dataset_id, fold), done in networks.items():
        key = (dataset_id, fold == "all", *(cell.network for cell in done))
        together.setdefault(key, []).extend(done)
    return [_report_command(done, folder) for done in together.values()]


def _report_command(cells: Sequence[Cell], folder: Path) -> list[str]:
    dataset_id = cells[0].preparation.dataset_id
    folds = list(dict.fromkeys(cell.fold for cell in cells))
    # named like its configuration where that is enough, so that the paper's figures and its baseline are found
    predictions = [
        f"{cell.configuration}{f'_fold_{cell.fold}' if len(folds) > 1 else ''}={cell.predictions}" for cell in cells
    ]
    arguments = ["-d", dataset_id, "-tr", cells[0].trainer, "-p", cells[0].preparation.plans]
    arguments += ["-c", *dict.fromkeys(cell.configuration for cell in cells), "-f", *folds]
    arguments += ["--predictions", *predictions, "-np", str(cells[0].preparation.num_processes)]
    spacing = cells[0].preparation.plans.removeprefix(PAPER_PLANS)
    name = f"report_{dataset_id}_{cells[0].trainer}{spacing}_fold_{'_'.join(folds)}"
    return ["report", *arguments, "-o", str(folder / name), "--overwrite"]
