"""LoRA adapters in PEFT's layout: the table, a folder for each, and what PEFT computes with them."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file

from files import write_json, write_tensors

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Adapter:
    name: str
    config: dict
    seed: int


ADAPTERS = {a.name: a for a in [
    Adapter("lora", dict(r=8, lora_alpha=16, target_modules=SEVEN), seed=21),
    Adapter("lora-qv-rslora", dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], use_rslora=True), seed=22),
]}


def save(peft_model, folder: Path, base: str) -> None:
    """adapter_config.json and adapter_model.safetensors as PEFT writes them, with what varies between runs fixed."""
    with tempfile.TemporaryDirectory() as tmp:
        peft_model.save_pretrained(tmp, save_embedding_layers=False)
        config = json.loads((Path(tmp) / "adapter_config.json").read_text())
        write_tensors(folder / "adapter_model.safetensors", load_file(Path(tmp) / "adapter_model.safetensors"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])  # PEFT writes a set in hash order
    write_json(folder / "adapter_config.json", config)


def create(model, adapter: Adapter, folder: Path, base: str) -> None:
    """folder/NAME-init (PEFT's own initialisation, B zero) and folder/NAME-random (B random: its gradients reach A)."""
    torch.manual_seed(adapter.seed)
    peft_model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **adapter.config))
    save(peft_model, folder / f"{adapter.name}-init", base)
    with torch.no_grad():
        for name, p in peft_model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.1 * torch.randn(p.shape))
    save(peft_model, folder / f"{adapter.name}-random", base)


def load(model, folder: Path, trainable: bool = False):
    return PeftModel.from_pretrained(model, folder, is_trainable=trainable)


def gradients(peft_model) -> dict[str, torch.Tensor]:
    """Gradients by the adapter's own key in adapter_model.safetensors."""
    params = dict(peft_model.named_parameters())
    by_data = {p.data_ptr(): p.grad for p in params.values() if p.grad is not None}
    return {k: by_data[t.data_ptr()] for k, t in get_peft_model_state_dict(peft_model).items()}


def merged(peft_model, adapter: Adapter) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """(the merged model, the weights that merging changed)."""
    model = peft_model.merge_and_unload()
    targets = adapter.config["target_modules"]
    return model, {n: p for n, p in model.named_parameters() if n.endswith("weight") and n.split(".")[-2] in targets}
