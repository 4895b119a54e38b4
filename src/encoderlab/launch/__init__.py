"""Where independent pieces of work are done: in this process, in processes beside it, or in jobs of SLURM.

pieces    what a piece is, what an executor is; `Here`, one after another in this process
queue     pieces in a folder, taken by renaming a file, so that workers need nothing but the file system
worker    takes pieces from such a folder until there is none left
crews     who works: processes of this machine, or jobs of SLURM; started by submitit
pool      the executor over a queue and a crew: fills the queue, collects, replaces workers that died
choose    the executor that a study asks for, or what is wrong with its [launch]

The code of a run does not know where it runs. docs/launch.md is the user's page, docs/decisions/0007 says why so.
"""
