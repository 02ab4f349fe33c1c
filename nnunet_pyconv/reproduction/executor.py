"""Where jobs run: here, one after another, or on a Slurm cluster; both through submitit."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.extras import require_extra
from nnunet_pyconv.names import ExecutorKind
from nnunet_pyconv.nnunet_commands import Outcome
from nnunet_pyconv.reproduction.preparation import Preparation
from nnunet_pyconv.reproduction.run import Run

if TYPE_CHECKING:
    import submitit

Job: TypeAlias = Preparation | Run

DEFAULT_PARAMETERS = {"time": 24 * 60, "cpus_per_task": 12}  # minutes; nnU-Net's workers


class ResumableJob:
    """A job that Slurm may end at its time limit: it is queued again, and goes on from nnU-Net's checkpoint."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> Outcome:
        """Run what is left of the job; whatever goes wrong is its outcome."""
        try:
            return self.job()
        except Exception as error:
            traceback.print_exc()
            return Outcome(str(self.job), self.job.log, f"failed: {error!r}")

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class Executor:
    """Submits jobs.

    Args:
        kind: `local` runs a job when its result is asked for, in this process. `slurm` queues it.
        folder: Where submitit keeps what it needs on a cluster: a folder that all nodes see.
        slurm_parameters: Of `submitit.SlurmExecutor`, for example `{"partition": "gpu", "time": 600}`.

    Raises:
        InputError: submitit is not installed, Slurm is missing, or parameters that it doesn't know.
    """

    def __init__(self, kind: ExecutorKind, folder: Path, slurm_parameters: Mapping[str, Any]) -> None:
        require_extra("slurm", "submitit")
        import submitit

        self._is_slurm = kind == "slurm"
        self._slurm_parameters = {**DEFAULT_PARAMETERS, **slurm_parameters}
        self._executor: submitit.Executor
        if self._is_slurm:
            try:
                self._executor = submitit.SlurmExecutor(folder)
                self._executor.update_parameters(**self._slurm_parameters)
            except (RuntimeError, ValueError) as error:
                raise InputError(f"--executor slurm: {error}") from error
        else:
            self._scratch = tempfile.TemporaryDirectory()  # all that matters is in the jobs' own logs
            self._executor = submitit.DebugExecutor(self._scratch.name)

    def submit(self, job: Job, num_gpus: int, after: submitit.Job[Outcome] | None) -> Any:
        """Submit a job.

        Args:
            job: What to run.
            num_gpus: GPUs that it needs.
            after: A job that has to end first.

        Returns:
            submitit's job.
        """
        if self._is_slurm:
            # singleton: a job that is queued twice waits for the first, and then finds nothing left to do
            dependency = "singleton" if after is None else f"afterany:{after.job_id},singleton"
            name = "nnunet_pyconv_" + "_".join(str(job).split())
            parameters = {"job_name": name, "dependency": dependency, **self._slurm_parameters}
            if num_gpus:
                parameters.setdefault("gpus_per_node", num_gpus)
            self._executor.update_parameters(**parameters)
        return self._executor.submit(ResumableJob(job))
