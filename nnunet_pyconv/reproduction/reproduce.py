"""Run the matrix and say how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_results
from tqdm import tqdm

from nnunet_pyconv.planning import PAPER_PLANS
from nnunet_pyconv.reproduction.cell import Cell
from nnunet_pyconv.reproduction.executor import Executor, Job
from nnunet_pyconv.reproduction.matrix import Request, cells_of, datasets_of
from nnunet_pyconv.reproduction.step import Outcome


def reproduce(request: Request, executor: str, slurm_parameters: Mapping[str, Any]) -> list[Outcome]:
    """Run what is left of a request: first the datasets' preparation, then the cells.

    Args:
        request: What to reproduce.
        executor: `local` or `slurm`.
        slurm_parameters: Of `submitit.SlurmExecutor`.

    Returns:
        How each job that had something to do ended.

    Raises:
        InputError: A request that can't be met; nothing has run then.
    """
    datasets = datasets_of(request)
    cells = cells_of(request, datasets)
    runner = Executor(executor, Path(nnUNet_results.require()) / "submitit", slurm_parameters)
    gpus = request.num_gpus if request.device == "cuda" else 0
    left = [cell for cell in cells if not cell.is_done]
    print(f"{len(cells) - len(left)} of {len(cells)} cells were done before", flush=True)
    jobs: dict[Job, Any] = {dataset: runner.submit(dataset, 0, None) for dataset in datasets if not dataset.is_done}
    for cell in left:
        jobs[cell] = runner.submit(cell, gpus, jobs.get(cell.preparation))
    outcomes = []
    for job, submitted in tqdm(jobs.items(), unit="job"):
        try:
            outcomes.append(submitted.result())
        except Exception as error:  # of submitit, for a job that didn't end by itself
            outcomes.append(Outcome(str(job), Path(submitted.paths.stderr), f"was lost: {error!r}"))
    return outcomes


def commands(request: Request) -> list[str]:
    """The lines of a dry run: all commands that are left, and as comments what is done.

    Raises:
        InputError: A request that can't be met.
    """
    lines = ['export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"']
    datasets = datasets_of(request)
    jobs: list[Job] = [*datasets, *cells_of(request, datasets)]
    for job in jobs:
        steps = list(job.steps())
        lines += [f"# {job}{'' if steps else ': done'}", *map(str, steps)]
    return lines


def report_commands(cells: Sequence[Cell]) -> list[str]:
    """The commands that report on finished cells, at least one.

    Returns:
        One for each dataset, with its validation cases and its test images; before them, if there are several datasets,
        one for the validation cases of all.
    """
    ids, networks, folds = (
        list(dict.fromkeys(values))
        for values in (
            (cell.preparation.dataset_id for cell in cells),
            (cell.configuration for cell in cells),
            (cell.fold for cell in cells),
        )
    )
    choice = ["-tr", cells[0].trainer, "-p", PAPER_PLANS, "-c", *networks, "-f", *folds]
    commands = [["-d", *ids, *choice, "-o", "report_validation"]] if len(ids) > 1 else []
    for dataset_id in ids:
        # named like its configuration where that is enough, so that the paper's figures and its baseline are found
        predictions = [
            f"{cell.configuration}{f'_fold_{cell.fold}' if len(folds) > 1 else ''}={cell.predictions}"
            for cell in cells
            if cell.preparation.dataset_id == dataset_id
        ]
        commands.append(["-d", dataset_id, *choice, "--predictions", *predictions, "-o", f"report_{dataset_id}"])
    return [shlex.join(["nnunet_pyconv", "report", *arguments]) for arguments in commands]
