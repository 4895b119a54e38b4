"""Run independent pieces of work: in this process, in worker processes, or in SLURM jobs."""
