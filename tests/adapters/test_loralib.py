"""The .bin of microsoft/LoRA, written here as its code names it, against LoRA computed from the matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from encoderlab.adapters import folder, loralib
from encoderlab.core.errors import InputError
from encoderlab.model import load as model_load

HEAD = "AutoModelForSequenceClassification"


@pytest.mark.parametrize("alpha", [16.0, 3.0])
def test_a_bin_gives_w_plus_alpha_over_r_ba(alpha: float, tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    load = lambda seed: model_load.load(str(tiny_model("roberta")), head=HEAD, class_names=["a", "b"], seed=seed)  # noqa: E731
    by_hand, ours = load(1), load(2)
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for i in range(2):
            for name in ("query", "value"):
                path = f"roberta.encoder.layer.{i}.attention.self.{name}"
                a, b = torch.randn(4, 32, generator=generator), torch.randn(32, 4, generator=generator)
                state |= {f"{path}.lora_A": a, f"{path}.lora_B": b}
                by_hand.model.get_submodule(path).weight += alpha / 4 * (b @ a)
    state |= {n: p.detach().clone() for n, p in by_hand.model.named_parameters() if n.startswith("classifier.")}
    torch.save(state, tmp_path / "roberta_lora.bin")

    method, tensors = loralib.read(ours, tmp_path / "roberta_lora.bin", alpha)
    assert (method.rank, method.alpha, method.target, method.layers) == (4, alpha, ("query", "value"), "all")
    method.inject(ours, 0)
    folder.fill(ours, method, tensors, "here")
    inputs = ours.tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = by_hand.model.eval()(**inputs).logits
        torch.testing.assert_close(ours.model.eval()(**inputs).logits, wanted, rtol=0, atol=1e-5)


def test_other_files_are_refused(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    ours = model_load.load(str(tiny_model("bert")), head=HEAD, class_names=["a", "b"], seed=0)
    path = "bert.encoder.layer.0.attention.self.query"
    a, b = torch.zeros(4, 32), torch.zeros(32, 4)

    def said(value: object) -> str:
        torch.save(value, tmp_path / "x.bin")
        with pytest.raises(InputError) as caught:
            loralib.read(ours, tmp_path / "x.bin")
        return str(caught.value)

    assert "the tensor encoder.layer.0.attention.self.query.weight" in said(
        {f"{path}.lora_A": a, f"{path}.lora_B": b, f"{path}.weight": torch.zeros(32, 32)}
    )
    assert "no lora_A" in said({"classifier.weight": a})
    assert "ranks [4, 8]" in said({f"{path}.lora_A": torch.zeros(8, 32), f"{path}.lora_B": b})  # MergedLinear
    assert "expected a dict of tensors" in said([a])
    assert "damaged, or not a file of tensors" in said({"x": Path("a pickle that wants code run")})
    (tmp_path / "x.bin").unlink()
    with pytest.raises(InputError, match="no adapter weights"):
        loralib.read(ours, tmp_path / "x.bin")
