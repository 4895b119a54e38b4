"""Load a run: its folder becomes a merged model in the run's precision.

Evaluation starts from what was saved, never from the model in memory: what is measured is what a user would load.
"""

from __future__ import annotations

import logging
from pathlib import Path

from safetensors import SafetensorError

from encoderlab.adapters import folder as adapters
from encoderlab.core import files
from encoderlab.core.errors import InputError
from encoderlab.engine.device import choose_device, choose_precision
from encoderlab.engine.tuned_model import Loaded, assemble
from encoderlab.methods.registry import METHODS
from encoderlab.tasks.registry import TASKS
from encoderlab.training.run_folder import RunFolder

log = logging.getLogger(__name__)


def load_run(
    folder: Path, *, device: str = "auto", precision: str | None = None, force: bool = False, base: str | None = None
) -> Loaded:
    """Load the model of a finished run.

    A run that failed may have kept its best epoch: this is loaded then, and a warning is logged.

    Args:
        folder: The folder of the run.
        device: "cpu", "cuda" or "auto".
        precision: "fp32" or "bf16". None takes the precision that the run was scored in.
        force: Whether another base model than the one it was trained on is accepted.
        base: The base model's folder, if it is no longer where it was.

    Raises:
        InputError: The folder is not a run, the run is not finished, or a file of it is missing or damaged.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not the folder of a run (expected config.json in it); give OUT/runs/ID")
    run = RunFolder(folder)
    if not run.is_recorded:
        raise InputError(f"{folder}: this run is not finished; run its study again to finish it")
    if not (run.adapter / adapters.OURS).is_file():
        raise InputError(
            f"{folder}: this run has no adapter/ (a trial, a baseline, or it failed early); "
            "if it was lost, run the study again"
        )
    place = choose_device(device)
    try:
        config, record = run.read_config(), run.record()
        if not record.is_done:
            log.warning("%s: this run failed (%s); using the best epoch before that", folder, record.reason)
        stored = {"bfloat16": "bf16", "float32": "fp32"}[config["precision"]]
        return assemble(
            model=_base(folder, config["model"]["name"], base),
            task=files.build(TASKS, "kind", config["task"]),
            method=files.build(METHODS, "name", config["method"]),
            class_names=config["class_names"],
            seed=config["seed"],
            train=config["train"],
            read=lambda b: adapters.read(b, run.adapter, force=force)[1],
            origin=str(run.adapter),
            device=place,
            dtype=choose_precision(place, precision or stored)[0],
        )
    except (KeyError, TypeError, ValueError, StopIteration, OSError, SafetensorError) as error:
        raise InputError(f"{folder}: a file of this run is damaged ({type(error).__name__}: {error})") from None


def _base(run: Path, trained_on: str, base: str | None) -> str:
    """Return the base model to load.

    Raises:
        InputError: Its folder is no longer there, and no other one is named.
    """
    if base is not None:
        return base
    if Path(trained_on).is_absolute() and not Path(trained_on).is_dir():
        raise InputError(f"{run}: its base model is no longer at {trained_on}; give its folder with --base FOLDER")
    return trained_on
