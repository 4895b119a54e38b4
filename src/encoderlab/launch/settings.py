"""The section [launch]: where the runs of a study, or the pieces of an encoding study, are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

from annotated_types import Ge, Gt

Count = Annotated[int, Ge(1)]


@final
@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where runs are done. It changes no number and no id of a run.

    on: one after another in the command itself, side by side in processes of this machine, or in jobs of SLURM
    workers: how many work at the same time; default: of processes one per GPU or core, on slurm 4
    threads: of each worker; default: its share of the cores, on slurm 1 (also the job's CPUs)
    partition: of SLURM, as all keys below
    account: to be charged
    qos: quality of service
    time: minutes of a job; a run that needs longer goes on in the next one
    memory: GB of a job
    gres: what else a job needs, such as "gpu:1"
    constraint: on the nodes
    voxels: of an encoding study: a piece has at most so many voxels of a subject; default: all of them
    """

    on: Literal["here", "processes", "slurm"] = "here"
    workers: Count | None = None
    threads: Count | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Annotated[int, Ge(5)] = 240
    memory: Annotated[float, Gt(0)] | None = None
    gres: str | None = None
    constraint: str | None = None
    voxels: Count | None = None

    @property
    def gpu(self) -> bool:
        """Whether the jobs have a GPU, whatever the machine of the command has."""
        return self.on == "slurm" and "gpu" in (self.gres or "")
