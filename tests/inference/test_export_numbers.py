"""The export of a regression: what may differ is told by the spread of its answers, whatever their mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.inference.export import export
from encoderlab.study.compare import compare
from fixtures_heads import NUMBER, results, study


@pytest.fixture
def run(tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))

    def made(unit: float, centre: float, method: str = "lora") -> Path:
        compare(study(tmp_path / "study", tiny_model("bert"), NUMBER, method=method, unit=unit, centre=centre))
        return tmp_path / "study" / "out" / "runs" / results(tmp_path / "study")[method]["id"]

    return made


@pytest.mark.parametrize(("unit", "centre"), [(0.15, 1000.0), (40.0, -450.0), (1e-7, 0.0), (1e-7, 1e-5)])
def test_a_shift_of_the_stored_answers_is_seen_beside_any_mean(
    unit: float, centre: float, run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run(unit, centre)
    for to in ("merged", "peft"):
        done = export(folder, to, tmp_path / to)
        assert done.stored_difference is not None and done.stored_allowed is not None
        assert done.stored_difference <= done.stored_allowed < 0.01 * unit
    file = folder / "predictions" / "test.safetensors"
    stored = load_file(file)
    signs = np.where(np.arange(len(stored["logits"])) % 2, 1.0, -1.0)[:, None]
    save_file(stored | {"logits": (stored["logits"] + 0.05 * unit * signs).astype(stored["logits"].dtype)}, file)
    with pytest.raises(EncoderlabError, match="from the predictions that the run stored"):
        export(folder, "merged", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(("unit", "centre"), [(1.0, 1e8), (1e-3, 1e5), (1e-9, -1e-1)])
def test_a_mean_that_float32_cannot_hold_is_refused(
    unit: float, centre: float, run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run(unit, centre)
    for to in ("merged", "onnx", "peft"):
        with pytest.raises(InputError) as caught:
            export(folder, to, tmp_path / to)
        assert re.search(
            r"not written: the exported model predicts in float32, whose precision near .* is .*: too coarse",
            str(caught.value),
        )
        assert "\n" not in str(caught.value) and not (tmp_path / to).exists()
