"""Run an experiment and say how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.models import ModelFilter
from nnunet_pyconv.evaluation.report.request import ReportRequest
from nnunet_pyconv.names import ExecutorKind
from nnunet_pyconv.nnunet_commands import Outcome
from nnunet_pyconv.nnunet_folders import nnunet_folder
from nnunet_pyconv.reproduction.executor import Executor, Job
from nnunet_pyconv.reproduction.experiment import ExperimentRequest, conversion_command, preparations_of, runs_of
from nnunet_pyconv.reproduction.run import Run


def reproduce(
    request: ExperimentRequest, executor: ExecutorKind, slurm_parameters: Mapping[str, Any]
) -> tuple[list[Run], list[Outcome]]:
    """Run what is left of a request: first the datasets' preparation, then the runs.

    Args:
        request: What to reproduce.
        executor: `local` or `slurm`.
        slurm_parameters: Of `submitit.SlurmExecutor`.

    Returns:
        The runs, and how each job that had something to do ended.

    Raises:
        InputError: A request that can't be met; nothing has run then.
    """
    preparations = preparations_of(request)
    for preparation in preparations:
        if not preparation.raw.exists():
            command = conversion_command(preparation, request)
            raise InputError(f"{preparation.raw} does not exist; convert the dataset first: {command}")
    runs = runs_of(request, preparations)
    runner = Executor(executor, nnunet_folder("nnUNet_results") / "submitit", slurm_parameters)
    gpus = request.num_gpus if request.device == "cuda" else 0
    left = [run for run in runs if not run.is_done]
    print(f"{len(runs) - len(left)} of {len(runs)} runs were done before", flush=True)
    unprepared = [preparation for preparation in preparations if not preparation.is_done]
    jobs: dict[Job, Any] = {preparation: runner.submit(preparation, 0, None) for preparation in unprepared}
    for run in left:
        jobs[run] = runner.submit(run, gpus, jobs.get(run.preparation))
    outcomes = []
    for job, submitted in tqdm(jobs.items(), unit="job"):
        try:
            outcomes.append(submitted.result())
        except Exception as error:  # of submitit, for a job that didn't end by itself
            outcomes.append(Outcome(str(job), Path(submitted.paths.stderr), f"was lost: {error!r}"))
    return runs, outcomes


def commands(request: ExperimentRequest, reports: Path) -> list[str]:
    """Return the lines of a dry run: all commands that are left, and as comments what is done or damaged.

    Args:
        request: What to reproduce.
        reports: See `report_requests`.

    Raises:
        InputError: A request that can't be met.
    """
    lines = ['export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"']
    preparations = preparations_of(request)
    runs = runs_of(request, preparations)
    converted = [preparation for preparation in preparations if preparation.raw.exists()]
    for preparation in preparations:
        if preparation not in converted:
            lines.append(f"# {preparation} is not converted; SRC is the folder of the downloaded data")
            lines.append(conversion_command(preparation, request))
    jobs: list[Job] = [*preparations, *runs]
    for job in jobs:
        is_converted = (job.preparation if isinstance(job, Run) else job) in converted
        lines += [f"# {damage}; it is made again" for damage in (job.damages() if is_converted else [])]
        steps = list(job.steps())
        lines += [f"# {job}{'' if steps else ': done'}", *map(str, steps)]
    return [*lines, "# reports", *(report.command() for report in report_requests(runs, reports))]


def report_requests(runs: Sequence[Run], folder: Path) -> list[ReportRequest]:
    """Return the reports on runs: for each dataset, on its validation cases and its test images.

    Folds go together where the same networks are done in them; `all`, which has their cases too, stands alone.

    Args:
        runs: Finished runs.
        folder: Each report gets a folder in it; an earlier one of the same name is replaced.
    """
    by_fold: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by_fold.setdefault((run.preparation.dataset, run.fold), []).append(run)
    together: dict[tuple[object, ...], list[Run]] = {}
    for (dataset, fold), done in by_fold.items():
        key = (dataset, fold == "all", *(run.network for run in done))
        together.setdefault(key, []).extend(done)
    return [_report_request(done, folder) for done in together.values()]


def _report_request(runs: Sequence[Run], folder: Path) -> ReportRequest:
    preparation, trainer = runs[0].preparation, runs[0].setup.trainer
    folds = list(dict.fromkeys(run.fold for run in runs))
    several = len(folds) > 1
    name = f"report_{preparation.dataset_id}_{trainer}{preparation.suffix}_fold_{'_'.join(folds)}"
    return ReportRequest(
        folder=folder / name,
        datasets=[preparation.dataset_id],
        models=ModelFilter(setups=list(dict.fromkeys(run.setup for run in runs)), folds=folds),
        # named like their models, so that the paper's figures stand beside them
        predictions={f"{run.setup}/fold_{run.fold}" if several else str(run.setup): run.predictions for run in runs},
        num_processes=preparation.num_processes,
        overwrite=True,
    )


def write_reports(runs: Sequence[Run], folder: Path) -> list[str]:
    """Write the reports on finished runs, and print the Table 2 of each.

    Args:
        runs: Finished runs.
        folder: See `report_requests`.

    Returns:
        What went wrong; the other datasets have reports nevertheless.
    """
    # imported here: it needs the extra of the report
    from nnunet_pyconv.evaluation.report import write_report

    failures = []
    for request in report_requests(runs, folder):
        try:
            report = write_report(request)
        except (InputError, OSError) as error:
            failures.append(f"report: {error}")
            continue
        print(f"Wrote {report.page}")
        for section in report.sections:
            title = f"{section.comparison.dataset.name}, {section.comparison.description}"
            print(f"\n# {title}\n\n{section.tables[0].to_markdown()}")
    return failures
