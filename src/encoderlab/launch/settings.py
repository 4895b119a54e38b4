"""The [launch] section: where the runs of a study, or the work items of an encoding study, are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

from annotated_types import Ge, Gt

from encoderlab.core.types import Count, Doc


@final
@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where runs are done. No key changes a number or the id of a run."""

    on: Annotated[
        Literal["here", "processes", "slurm"],
        Doc(
            "where runs are done: one after another in the command itself (here), in parallel "
            "processes on this machine, or in SLURM jobs"
        ),
    ] = "here"
    workers: Annotated[
        Count | None,
        Doc("number of workers that run at the same time; default: one per GPU or core for processes, 4 for slurm"),
    ] = None
    threads: Annotated[
        Count | None,
        Doc(
            "number of threads of each worker; default: its share of the cores for processes, 1 for "
            "slurm (also the CPUs of the job)"
        ),
    ] = None
    partition: Annotated[str | None, Doc("SLURM partition of the jobs")] = None
    account: Annotated[str | None, Doc("SLURM account that the jobs are charged to")] = None
    qos: Annotated[str | None, Doc("SLURM quality of service")] = None
    time: Annotated[int, Ge(5), Doc("time limit of a SLURM job in minutes; a longer run continues in the next job")] = (
        240
    )
    memory: Annotated[Annotated[float, Gt(0)] | None, Doc("memory of a SLURM job in GB")] = None
    gres: Annotated[str | None, Doc('other resources of a SLURM job, such as "gpu:1"')] = None
    constraint: Annotated[str | None, Doc("SLURM constraint on the nodes")] = None
    voxels: Annotated[
        Count | None,
        Doc("maximum number of voxels in one work item of an encoding study; default: all voxels of a subject"),
    ] = None

    @property
    def gpu(self) -> bool:
        """Whether the SLURM jobs have a GPU; the machine of the command may have none."""
        return self.on == "slurm" and "gpu" in (self.gres or "")
