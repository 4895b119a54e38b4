"""Run independent work items: in this process, in worker processes, or in SLURM jobs.

Public: `executor.WorkItem`, `executor.Executor`, `open_executor.open_executor`.
"""
