"""The table of peercheck: which method is checked on which of testdata/ref's models.

A method is what lathe's run.yaml says (`run`) and what the same is in PEFT (`peft`, for LoraConfig or PrefixTuningConfig).
"""

from dataclasses import dataclass, field

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]

# Every linear layer of a block, by folder of testdata/ref.
FAMILIES = {
    **dict.fromkeys(["llama-gqa", "llama-bias-tied", "llama3-rope", "llama-linear-rope", "llama-dynamic-rope",
                     "llama-yarn-rope", "mistral-window", "gemma", "gemma2", "gemma3", "qwen2", "qwen3"], SEVEN),
    **dict.fromkeys(["gpt-neox", "gpt-neox-seq", "falcon-7b", "falcon-40b", "falcon-rw"], FUSED),
    **dict.fromkeys(["phi3", "phi3-longrope"], ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
    "starcoder2": ["q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"],
}
# What the adapters library knows, by its own model classes or its interfaces.
BOTTLENECK = ["llama-gqa", "llama-bias-tied", "mistral-window", "gemma2", "gemma3", "qwen2", "qwen3"]
# PEFT cannot say these models' key-value heads by itself: one head; a head for each query head, as transformers caches them.
PREFIX_SHAPES = {"falcon-7b": dict(num_attention_heads=1, token_dim=8)}
EMBEDDINGS = {"gpt-neox": "embed_in"}
QUANTISED = {"nf4-double": ("nf4", True), "nf4-single": ("nf4", False), "fp4-double": ("fp4", True), "fp4-single": ("fp4", False)}
ALL_LINEAR = "every linear layer"
# What cannot be equal, and why, by family, method and direction (None: any): the row stands in the table with its reason.
EXPLAINED = {
    ("gemma", "full", "lathe → transformers 4"): "an old Gemma's config says gelu and means its tanh form, as transformers 5 reads it; 4.57 takes "
                                                 "it at its word",
    **{(f, "lora, PEFT's layers", d): "PEFT names no layers by default for this family and asks for them; lathe takes those of queries and values"
       for f in ("phi3", "phi3-longrope", "starcoder2") for d in ("PEFT → lathe", "PEFT, merged → lathe")},
    ("falcon-40b", "prefix", None): "transformers caches this Falcon's keys and values once for each query head, so PEFT's prefix has heads "
                                    "that differ within a group; lathe's has one for each group, and refuses the other",
}


@dataclass(frozen=True)
class Method:
    name: str
    method: str = "lora"  # run.yaml's
    lora: dict = field(default_factory=dict)  # run.yaml's and LoraConfig's; ALL_LINEAR stands for the family's layers
    prefix: dict = field(default_factory=dict)
    adapter: dict = field(default_factory=dict)
    quant: tuple[str, bool] | None = None  # of the base, on both sides
    families: tuple[str, ...] | None = None  # None: every one
    merge: bool = True  # merging means something

    @property
    def first(self) -> str:
        """The family on which adapters are also gone on from."""
        return self.families[0] if self.families else "llama-gqa"


LORA = dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR)
QV = dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
LLAMA, BIASED = ("llama-gqa",), ("llama-bias-tied", "gpt-neox", "gpt-neox-seq", "falcon-rw", "qwen2", "starcoder2")

METHODS = [
    Method("full", "full"),
    Method("lora", lora=LORA),
    Method("qlora", "qlora", lora=LORA, quant=("nf4", True)),
    Method("qlora-single", "qlora", lora=LORA, quant=("nf4", False), families=LLAMA),
    Method("qlora-fp4", "qlora", lora=LORA, quant=("fp4", True), families=("llama-gqa", "falcon-7b", "phi3")),
    Method("qlora-fp4-single", "qlora", lora=LORA, quant=("fp4", False), families=LLAMA),
    Method("dora", lora=LORA | dict(use_dora=True)),
    Method("qdora", "qlora", lora=LORA | dict(use_dora=True), quant=("nf4", True), families=("llama-gqa", "gpt-neox", "phi3")),
    Method("rslora", lora=QV | dict(use_rslora=True), families=LLAMA),
    Method("lora-bias-all", lora=LORA | dict(bias="all"), families=BIASED),
    Method("lora-bias-only", lora=LORA | dict(bias="lora_only"), families=BIASED),
    Method("lora-modules", lora=LORA | dict(modules_to_save=["lm_head", "embed_tokens"]), families=("llama-gqa", "phi3", "gpt-neox")),
    Method("prefix", "prefix", prefix=dict(num_virtual_tokens=4), merge=False),
    Method("prefix-projection", "prefix", prefix=dict(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=24),
           merge=False, families=("llama-gqa", "mistral-window", "gpt-neox")),
    Method("houlsby", "adapter", adapter=dict(config="houlsby", reduction_factor=4, non_linearity="swish"), merge=False,
           families=tuple(BOTTLENECK)),
    Method("pfeiffer", "adapter", adapter=dict(config="pfeiffer", reduction_factor=4, non_linearity="relu"), merge=False,
           families=tuple(BOTTLENECK)),
    Method("lora, all-linear", lora=dict(r=4, lora_alpha=8, target_modules="all-linear"),
           families=("llama-gqa", "llama-bias-tied", "gemma3", "gpt-neox", "falcon-40b", "phi3", "starcoder2")),
    Method("lora, PEFT's layers", lora=dict(r=4, lora_alpha=8)),
    Method("lora, regular expression", lora=dict(r=4, lora_alpha=8, target_modules=r".*\.self_attn\.(q|o)_proj"), families=LLAMA),
    Method("lora, rank_pattern", lora=dict(r=8, lora_alpha=16, target_modules=SEVEN, rank_pattern={"down_proj": 2, "1.self_attn.v_proj": 4},
           alpha_pattern={"q_proj": 32}), families=LLAMA),
    Method("lora, one layer", lora=dict(r=8, lora_alpha=16, target_modules=["v_proj"], layers_to_transform=[1]), families=LLAMA),
    Method("lora, exclude_modules", lora=dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"],
           exclude_modules=["layers.0.mlp.down_proj"]), families=LLAMA),
]


def lora_config(method: Method, family: str) -> dict:
    """The LoRA options of a method on a family: the layers by their names there."""
    config = dict(method.lora)
    if config.get("target_modules") == ALL_LINEAR:
        config["target_modules"] = FAMILIES[family]
    if family in EMBEDDINGS and "modules_to_save" in config:
        config["modules_to_save"] = [EMBEDDINGS[family] if m == "embed_tokens" else m for m in config["modules_to_save"]]
    return config


def run_yaml(method: Method, family: str) -> dict:
    """A run of three steps, its paths relative to testdata/ref."""
    run = {
        "model_name_or_path": family, "train_file": "llama-gqa/train-lora/rows.jsonl", "output_dir": "out",
        "method": method.method, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": 3,
        "learning_rate": 5e-3, "lr_scheduler_type": "constant", "shuffle": False, "max_seq_length": 128,
        "eval_strategy": "no", "save_strategy": "no", "seed": 7,
    }
    if method.lora:
        run["lora"] = {"lora_dropout": 0.0, "bias": "none"} | lora_config(method, family)
    if method.prefix:
        run["prefix"] = dict(method.prefix)
    if method.adapter:
        run["adapter"] = dict(method.adapter)
    if method.quant:
        run |= {"load_in_4bit": True, "bnb_4bit_quant_type": method.quant[0], "bnb_4bit_use_double_quant": method.quant[1],
                "bnb_4bit_compute_dtype": "float32"}
    return run
