"""config.json as transformers 4 wrote it, and as published checkpoints have it: `dump/config.v4.json`.

`torch_dtype` for `dtype`; rotary fields at the top in place of `rope_parameters`; and what old files leave out, left out:
fields that have the family's default, layer types that follow from a pattern.
"""

ROTARY = ("rope_theta", "rope_type", "partial_rotary_factor")


def config_v4(config: dict) -> dict:
    """The old form of a config that transformers 5 wrote."""
    old = {k: x for k, x in config.items() if k not in ("dtype", "rope_parameters", "layer_types") and x is not None}
    old = FAMILIES.get(config["model_type"], llama)(old, config)
    return old | {"torch_dtype": config["dtype"], "transformers_version": "4.40.0"}


def scaling(params: dict) -> dict | None:
    """rope_scaling. Early files say `type`, later ones `rope_type`: linear and dynamic get the first spelling."""
    kind = params["rope_type"]
    if kind == "default":
        return None
    rest = {k: x for k, x in params.items() if k not in ROTARY}
    return {"type" if kind in ("linear", "dynamic") else "rope_type": kind} | rest


def llama(old: dict, config: dict) -> dict:
    """LLaMA, Mistral, Qwen, StarCoder2: rope_theta and rope_scaling at the top; head_dim only where it does not follow."""
    params = config["rope_parameters"]
    if old.get("head_dim", 0) * config["num_attention_heads"] == config["hidden_size"]:
        del old["head_dim"]
    return old | {"rope_theta": params["rope_theta"], "rope_scaling": scaling(params)}


def without(old: dict, *keys: str) -> dict:
    return {k: x for k, x in old.items() if k not in keys}


def gemma(old: dict, config: dict) -> dict:
    """Gemma 1 says `gelu` and means the tanh form. The head is tied by default."""
    return llama(without(old, "tie_word_embeddings"), config) | {"hidden_act": "gelu", "hidden_activation": None}


def gemma2(old: dict, config: dict) -> dict:
    """Gemma 2: layers alternate, sliding first; the file does not say so."""
    return llama(without(old, "tie_word_embeddings"), config) | {"cache_implementation": "hybrid"}


def gemma3(old: dict, config: dict) -> dict:
    """Gemma 3: two bases and the pattern at the top; rope_scaling is of the global layers only."""
    params = config["rope_parameters"]
    old = without(old, "tie_word_embeddings", "_sliding_window_pattern")
    return old | {
        "rope_theta": params["full_attention"]["rope_theta"], "rope_scaling": scaling(params["full_attention"]) and
        {"factor": params["full_attention"]["factor"], "rope_type": "linear"},
        "rope_local_base_freq": params["sliding_attention"]["rope_theta"],
        "sliding_window_pattern": config["_sliding_window_pattern"]}


def neox(old: dict, config: dict) -> dict:
    """GPT-NeoX: its own names for the base and the share of the head that turns."""
    params = config["rope_parameters"]
    return without(old, "attention_bias") | {"rotary_emb_base": params["rope_theta"],
                                            "rotary_pct": params["partial_rotary_factor"]}


def falcon(old: dict, config: dict) -> dict:
    """Falcon: tied head and 4·hidden in the MLP by default; alibi models carry no rotary fields."""
    old = without(old, "tie_word_embeddings", "ffn_hidden_size")
    if config["alibi"]:
        return old
    return old | {"rope_theta": config["rope_parameters"]["rope_theta"], "rope_scaling": None}


def phi3(old: dict, config: dict) -> dict:
    """Phi-3: the original context is at the top alone."""
    old = llama(old, config)
    if old["rope_scaling"]:
        old["rope_scaling"] = {"type": "longrope"} | without(old["rope_scaling"], "rope_type", "original_max_position_embeddings")
    return old | {"partial_rotary_factor": config["rope_parameters"]["partial_rotary_factor"]}


def qwen2(old: dict, config: dict) -> dict:
    """Qwen2 files name a window and switch it off beside it."""
    return llama(old, config) | {"sliding_window": 6, "use_sliding_window": False}


FAMILIES = {"gemma": gemma, "gemma2": gemma2, "gemma3_text": gemma3, "gpt_neox": neox, "falcon": falcon, "phi3": phi3,
            "qwen2": qwen2}
