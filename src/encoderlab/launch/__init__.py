"""Where independent pieces of work are done: in this process, in worker processes, in jobs of SLURM."""
