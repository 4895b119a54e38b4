"""Run independent work items: in this process, in worker processes, or in SLURM jobs."""
