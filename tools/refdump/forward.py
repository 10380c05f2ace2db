"""Logits, log-probabilities, loss, greedy ids and RoPE tables of one model."""

from pathlib import Path

import torch

from files import write_json, write_tensors

NEW = 64
DISTINCT = 8  # ids in a greedy continuation
KEPT = ("embed_tokens", "embed_in", "word_embeddings", "self_attn", "attention", "self_attention", "mlp", "norm",
        "final_layer_norm", "ln_f")  # modules whose outputs activations.safetensors holds
GAP = 5e-3  # least gap between the best and the second logit in greedy generation


def sequences(vocab: int, lengths=(7, 33, 48), seed: int = 7):
    """Three ragged sequences and their labels: random ids, a masked prompt, a masked hole, nothing masked."""
    g = torch.Generator().manual_seed(seed)
    ids = [torch.randint(5, vocab, (n,), generator=g) for n in lengths]
    labels = [x.clone() for x in ids]
    labels[0][:3] = -100
    labels[1][10:17] = -100
    return ids, labels


@torch.no_grad()
def logits_alone(model, ids):
    """Each sequence by itself, without padding: [sum of lengths, vocab]."""
    return torch.cat([model(x[None]).logits[0] for x in ids])


def next_logprobs(logits, ids):
    """Log-probability of each next token, n-1 a sequence, concatenated."""
    out, at = [], 0
    for x in ids:
        lp = torch.log_softmax(logits[at:at + len(x) - 1], -1)
        out.append(lp.gather(1, x[1:, None])[:, 0])
        at += len(x)
    return torch.cat(out)


@torch.no_grad()
def padded(model, ids, labels=None):
    """One right-padded batch through the model: (loss over trained tokens, logits without padding)."""
    from torch.nn.utils.rnn import pad_sequence

    batch = pad_sequence(ids, batch_first=True, padding_value=0)
    mask = pad_sequence([torch.ones_like(x) for x in ids], batch_first=True)
    lab = pad_sequence(labels, batch_first=True, padding_value=-100) if labels else None
    out = model(input_ids=batch, attention_mask=mask, labels=lab)
    return out.loss, torch.cat([out.logits[i, :len(x)] for i, x in enumerate(ids)])


@torch.no_grad()
def greedy(model, prompt):
    """(64 ids, the smallest gap between the best and the second logit): no cache, the end token does not stop it."""
    ids, margin = prompt.clone(), float("inf")
    for _ in range(NEW):
        top = model(ids[None]).logits[0, -1].topk(2)
        margin = min(margin, float(top.values[0] - top.values[1]))
        ids = torch.cat([ids, top.indices[:1]])
    cached = model.generate(prompt[None], max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)[0] \
        if model.generation_config.eos_token_id is None else None
    assert cached is None or torch.equal(cached, ids), "generate with the cache disagrees"
    return ids[len(prompt):], margin


def clear_prompt(model, ids):
    """The shortest start of ids (5 tokens or more) whose greedy continuation has no near-tie (no rounding decides it) and
    is more than a loop of a few ids."""
    for n in range(5, min(len(ids), 49)):
        new, margin = greedy(model, ids[:n])
        if margin > GAP and len(new.unique()) >= DISTINCT:
            return ids[:n], new, margin
    raise ValueError("no prompt without a near-tie: change the seed")


def rope_tables(model, lengths):
    """inv_freq [rotary/2] and cos, sin [64, rotary] of positions 0..63, as the model multiplies with them.

    Dynamic scaling and longrope: `long.` those of the longest sequence, cos and sin [n, rotary]. Two bases: by layer type,
    `full_attention.` and `sliding_attention.`. Alibi: nothing.
    """
    if getattr(model.config, "alibi", False):
        return {}
    r = model.base_model.rotary_emb
    params, x = model.config.rope_parameters, torch.zeros(1)
    if "full_attention" in params:
        out = {}
        for kind in params:
            cos, sin = r(x, torch.arange(64)[None], kind)
            out |= {f"{kind}.inv_freq": getattr(r, f"{kind}_inv_freq"), f"{kind}.cos": cos[0], f"{kind}.sin": sin[0]}
        return out
    cos, sin = r(x, torch.arange(64)[None])
    out = {"inv_freq": r.inv_freq.clone(), "cos": cos[0], "sin": sin[0]}
    if dynamic(model):
        cos, sin = r(x, torch.arange(max(lengths))[None])
        out |= {"long.inv_freq": r.inv_freq.clone(), "long.cos": cos[0], "long.sin": sin[0]}
        r(x, torch.arange(5)[None])  # back to the short base
    return out


def dynamic(model) -> bool:
    """Whether the angles depend on the longest sequence of a batch."""
    return (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") in ("dynamic", "longrope")


@torch.no_grad()
def activations(model, ids) -> dict[str, torch.Tensor]:
    """Outputs of the embedding, of each block, of its attention and MLP, and of the last norm, by module name: [T, hidden]."""
    kept, hooks = {}, []
    for name, module in model.named_modules():
        last = name.split(".")[-1]
        if last.isdigit() or last in KEPT:
            def keep(_, __, output, name=name):
                kept[name] = (output[0] if isinstance(output, tuple) else output)[0]
            hooks.append(module.register_forward_hook(keep))
    model(ids[None])
    for h in hooks:
        h.remove()
    return kept


def dump(model, out: Path, lengths) -> dict:
    """Writes out/forward.safetensors, forward.json, rope.safetensors and activations.safetensors; returns the noise it
    measured."""
    ids, labels = sequences(model.config.vocab_size, lengths)
    model.generation_config.eos_token_id = None
    logits = logits_alone(model, ids)
    loss, pad_logits = padded(model, ids, labels)
    lp = next_logprobs(logits, ids)
    keep = torch.cat([y[1:] != -100 for y in labels])
    alone = -lp[keep].mean()
    prompt, new, margin = clear_prompt(model, ids[-1])

    noise = {}
    if dynamic(model):  # each alone
        loss = alone
    else:
        noise = {"padded_batch": float((next_logprobs(pad_logits, ids) - lp).abs().max()),
                 "loss_padded_vs_alone": float((loss - alone).abs())}
    if not getattr(model, "is_quantized", False):
        wide = next_logprobs(logits_alone(model.double(), ids), ids)
        noise["float64"] = float((wide - lp).abs().max())
        model.float()
    assert max(noise.values()) < 2e-5, noise

    write_tensors(out / "forward.safetensors", {
        "input_ids": torch.cat(ids), "labels": torch.cat(labels), "lengths": torch.tensor(lengths),
        "logits": logits, "logprobs": lp, "loss": loss, "prompt": prompt, "generated": new})
    write_json(out / "forward.json", {
        "sequences": [{"ids": x.tolist(), "labels": y.tolist()} for x, y in zip(ids, labels)],
        "trained_tokens": int(keep.sum()), "loss": float(loss), "logits_std": float(logits.std()),
        "prompt_ids": prompt.tolist(), "generated_ids": new.tolist(), "smallest_top2_gap": margin,
        "noise": noise})
    if tables := rope_tables(model, lengths):
        write_tensors(out / "rope.safetensors", tables)
    write_tensors(out / "activations.safetensors", activations(model, ids[0]))
    return noise
