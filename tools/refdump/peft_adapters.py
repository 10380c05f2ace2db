"""PEFT's adapters: the table, a folder for each, and what PEFT computes with them."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file

from files import write_json, write_tensors

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
LINEARS = {  # every linear layer of a block by model_type; SEVEN where not named
    "gpt_neox": FUSED, "falcon": FUSED, "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "starcoder2": ["q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"],
}
ENCODER = "prompt_encoder.safetensors"  # beside a prefix with projection: what PEFT trains but does not save


@dataclass(frozen=True)
class Adapter:
    name: str
    config: dict  # of LoraConfig, or of PrefixTuningConfig
    seed: int
    models: tuple[str, ...] = ("llama-gqa",)
    merge: bool = False  # dump what merge_and_unload changed
    random: bool = True  # NAME-random beside NAME-init, with its scores

    @property
    def prefix(self) -> bool:
        return "num_virtual_tokens" in self.config


FAMILY = dict(r=4, lora_alpha=8, target_modules=None)  # every linear layer
BOTH = ("llama-gqa", "llama-bias-tied")
ADAPTERS = [
    Adapter("lora", dict(r=8, lora_alpha=16, target_modules=SEVEN), seed=21, models=BOTH, merge=True),
    Adapter("lora-qv-rslora", dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], use_rslora=True), seed=22,
            models=BOTH, merge=True),
    Adapter("lora-bias-all", dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], bias="all"), seed=23,
            models=("llama-bias-tied",), merge=True),
    Adapter("lora-bias-all", dict(r=4, lora_alpha=8, target_modules=["query_key_value", "dense_4h_to_h"], bias="all"), seed=23,
            models=("gpt-neox",), merge=True),
    Adapter("lora-bias-only", dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], bias="lora_only"), seed=24,
            models=("llama-bias-tied",), merge=True),
    Adapter("lora-modules", dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"],
            modules_to_save=["lm_head", "embed_tokens"]), seed=25, merge=True),
    Adapter("dora", dict(r=8, lora_alpha=16, target_modules=SEVEN, use_dora=True), seed=26, merge=True),
    Adapter("lora-wide", dict(r=64, lora_alpha=64, target_modules=["v_proj", "down_proj"]), seed=27, random=False),
    Adapter("prefix", dict(num_virtual_tokens=4), seed=28, models=("llama-gqa", "gemma2", "gpt-neox")),
    Adapter("prefix-projection", dict(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=24), seed=29,
            models=("llama-gqa", "gpt-neox")),
]


def of_model(name: str, trained: tuple[str, ...]) -> list[Adapter]:
    """The adapters of a model folder: its rows of the table; a family gets a LoRA over every linear layer too."""
    rows = [a for a in ADAPTERS if name in a.models]
    return rows if name in BOTH or name not in trained else [Adapter("lora", FAMILY, seed=30, merge=True), *rows]


def peft_config(adapter: Adapter, model):
    """The PEFT configuration of a row for a model."""
    c = model.config
    if not adapter.prefix:
        config = dict(adapter.config)
        config["target_modules"] = config["target_modules"] or LINEARS.get(c.model_type, SEVEN)
        return LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **config)
    return PrefixTuningConfig(task_type="CAUSAL_LM", **adapter.config)


def save(peft_model, folder: Path, base: str) -> None:
    """adapter_config.json and adapter_model.safetensors as PEFT writes them, with what varies between runs fixed."""
    with tempfile.TemporaryDirectory() as tmp:
        peft_model.save_pretrained(tmp, save_embedding_layers=False)
        config = json.loads((Path(tmp) / "adapter_config.json").read_text())
        write_tensors(folder / "adapter_model.safetensors", load_file(Path(tmp) / "adapter_model.safetensors"))
    config["base_model_name_or_path"] = base
    for key in ("target_modules", "modules_to_save"):
        if config.get(key):
            config[key] = sorted(config[key])  # PEFT writes a set in hash order
    write_json(folder / "adapter_config.json", config)
    if config.get("prefix_projection"):
        write_tensors(folder / ENCODER, peft_model.prompt_encoder["default"].state_dict())


def create(model, adapter: Adapter, folder: Path, base: str) -> None:
    """folder/NAME-init (PEFT's own initialisation, B zero) and folder/NAME-random (all that trains moved: the gradients
    reach everything, and an adapter that is ignored shows)."""
    torch.manual_seed(adapter.seed)
    peft_model = get_peft_model(model, peft_config(adapter, model))
    save(peft_model, folder / f"{adapter.name}-init", base)
    if not adapter.random:
        return
    with torch.no_grad():
        for name, p in peft_model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.1 * torch.randn(p.shape))
            elif p.requires_grad and "lora_A" not in name:
                p.add_(0.1 * torch.randn(p.shape))
    save(peft_model, folder / f"{adapter.name}-random", base)


def load(model, folder: Path, trainable: bool = False):
    """The model with the adapter of a folder. PEFT does not go on training a prefix that it loaded: it is made anew and
    takes the saved values, with projection those of the encoder's file."""
    config = json.loads((folder / "adapter_config.json").read_text())
    if not trainable or config["peft_type"] != "PREFIX_TUNING":
        return PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    keys = ("num_virtual_tokens", "prefix_projection", "encoder_hidden_size")
    peft_model = get_peft_model(model, PrefixTuningConfig(task_type="CAUSAL_LM", **{k: config[k] for k in keys}))
    encoder = peft_model.prompt_encoder["default"]
    if encoder.prefix_projection:
        encoder.load_state_dict(load_file(folder / ENCODER))
    else:
        encoder.load_prompt_embeddings(load_file(folder / "adapter_model.safetensors")["prompt_embeddings"])
    return peft_model


def gradients(peft_model) -> dict[str, torch.Tensor]:
    """Gradients by the adapter's own key in adapter_model.safetensors; of a prefix's encoder by the encoder's."""
    encoder = getattr(peft_model, "prompt_encoder", None)
    if encoder is not None:
        encoder = encoder["default"]
        named = {n: p.grad for n, p in encoder.named_parameters()}
        return named if encoder.prefix_projection else {"prompt_embeddings": named["embedding.weight"]}
    params = dict(peft_model.named_parameters())
    by_data = {p.data_ptr(): p.grad for p in params.values() if p.grad is not None}
    saved = get_peft_model_state_dict(peft_model, save_embedding_layers=False)
    return {k: by_data[t.data_ptr()] for k, t in saved.items()}


def merged(peft_model, plain) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """(the merged model, the weights that merging changed against the plain one)."""
    before = dict(plain.named_parameters())
    model = peft_model.merge_and_unload()
    return model, {n: p for n, p in model.named_parameters() if not torch.equal(p, before[n])}
