"""Twenty training steps: a plain torch loop with the Trainer's semantics, and transformers.Trainer itself."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback, Trainer, TrainingArguments, get_scheduler

STEPS, BATCH, ACCUMULATION, ROWS, GRADIENT_ROWS = 20, 2, 2, 21, 4


@dataclass(frozen=True)
class Run:
    """One training dump: testdata/ref/MODEL/train-NAME."""

    name: str
    model: str
    method: str  # full, lora, qlora, prefix or adapter
    learning_rate: float
    adapter: str | None = None
    quant_type: str = "nf4"
    double_quant: bool = True
    warmup_steps: int = 3
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    scheduler: str = "linear"
    optim: str = "adamw"  # or adamw_8bit
    final: bool = False  # dump what the run ends with
    gradients: bool = True


TRAINED = ("mistral-window", "gemma", "gemma2", "gemma3", "gpt-neox", "gpt-neox-seq", "falcon-7b", "falcon-40b", "falcon-rw",
           "qwen2", "qwen3", "phi3", "starcoder2", "llama-dynamic-rope", "llama-yarn-rope")  # three runs each

RUNS = [
    Run("lora", "llama-gqa", "lora", 1e-2, "lora", final=True),
    Run("qlora", "llama-gqa", "qlora", 1e-2, "lora", final=True),
    Run("qlora-single", "llama-gqa", "qlora", 1e-2, "lora", double_quant=False),
    Run("qlora-fp4", "llama-gqa", "qlora", 1e-2, "lora", quant_type="fp4"),
    Run("qlora-fp4-single", "llama-gqa", "qlora", 1e-2, "lora", quant_type="fp4", double_quant=False),
    Run("lora-qv-rslora", "llama-gqa", "lora", 1e-2, "lora-qv-rslora", scheduler="cosine", max_grad_norm=6.0),
    Run("full", "llama-gqa", "full", 2e-3, final=True),
    Run("lora-modules", "llama-gqa", "lora", 4e-3, "lora-modules"),
    Run("dora", "llama-gqa", "lora", 1e-2, "dora"),
    Run("qdora", "llama-gqa", "qlora", 1e-2, "dora"),
    Run("lora-adamw8", "llama-gqa", "lora", 4e-3, "lora-wide", optim="adamw_8bit", gradients=False),
    Run("full-adamw8", "llama-gqa", "full", 2e-3, optim="adamw_8bit", gradients=False),
    Run("prefix", "llama-gqa", "prefix", 2e-2, "prefix", final=True),
    Run("prefix-projection", "llama-gqa", "prefix", 1e-2, "prefix-projection", final=True),
    Run("lora", "llama-bias-tied", "lora", 4e-3, "lora", max_grad_norm=4.0, final=True),
    Run("lora-bias-all", "llama-bias-tied", "lora", 4e-3, "lora-bias-all", final=True),
    Run("lora-bias-only", "llama-bias-tied", "lora", 4e-3, "lora-bias-only"),
    *(run for name in TRAINED for run in (
        Run("full", name, "full", 1e-3), Run("lora", name, "lora", 4e-3, "lora"), Run("qlora", name, "qlora", 4e-3, "lora"))),
    Run("lora-bias-all", "gpt-neox", "lora", 4e-3, "lora-bias-all"),
    Run("prefix", "gpt-neox", "prefix", 2e-2, "prefix"),
    Run("prefix", "gemma2", "prefix", 2e-2, "prefix"),
    Run("prefix-projection", "gpt-neox", "prefix", 1e-2, "prefix-projection"),
]


def rows(vocab: int, seed: int = 31) -> list[dict]:
    """21 rows of 5 to 40 ids that can be learnt: arithmetic progressions. Prompts masked; row 4 trains all its
    tokens, the first too (the shift drops it, and it must not count); row 9 has a masked hole; row 13 trains one."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (1,), generator=g))  # noqa: E731
    out = []
    for i in range(ROWS):
        n, start, step = draw(5, 41), draw(0, vocab), draw(1, 9)
        ids = [5 + (start + step * k) % (vocab - 5) for k in range(n - 1)] + [2]
        masked = draw(1, max(2, n // 2))
        labels = [-100] * masked + ids[masked:]
        if i == 4:
            labels = list(ids)
        if i == 9:
            labels[n // 2:n // 2 + 3] = [-100] * len(labels[n // 2:n // 2 + 3])
        if i == 13:
            labels = [-100] * (n - 1) + ids[-1:]
        out.append({"input_ids": ids, "labels": labels})
    return out


def collate(batch: list[dict]) -> dict[str, torch.Tensor]:
    """Right padding: ids with 0, labels with -100, and the attention mask. All [B, T]."""
    pad = lambda xs, v: pad_sequence([torch.tensor(x) for x in xs], batch_first=True, padding_value=v)  # noqa: E731
    ids = [r["input_ids"] for r in batch]
    return {"input_ids": pad(ids, 0), "attention_mask": pad([[1] * len(x) for x in ids], 0),
            "labels": pad([r["labels"] for r in batch], -100)}


def epoch_batches(data):
    """The optimiser steps of an epoch: lists of micro-batches; the last list and its last batch may be short."""
    micro = [collate(data[i:i + BATCH]) for i in range(0, len(data), BATCH)]
    return [micro[i:i + ACCUMULATION] for i in range(0, len(micro), ACCUMULATION)]


def trained(batch) -> int:
    return int((batch["labels"][:, 1:] != -100).sum())


def loss_of(model, batch, count, bf16=False):
    """Sum of the cross-entropy of the shifted labels, divided by count: the trained tokens of the whole step. With bf16 the
    forward pass is under autocast and its logits are widened, as the Trainer does it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    if bf16:
        logits = logits.float()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100, reduction="sum") / count


def groups(model, weight_decay):
    """Decay for everything but biases and norms."""
    decay, plain = [], []
    for name, p in model.named_parameters():
        if p.requires_grad:
            (plain if "bias" in name or "norm" in name or ".ln_" in name else decay).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def rate(run: Run, step: int) -> float:
    """Learning rate of step 0, 1, …: linear warm-up, then linear or cosine decay to 0 at STEPS."""
    if step < run.warmup_steps:
        return run.learning_rate * step / max(1, run.warmup_steps)
    if run.scheduler == "linear":
        return run.learning_rate * max(0.0, (STEPS - step) / max(1, STEPS - run.warmup_steps))
    progress = (step - run.warmup_steps) / max(1, STEPS - run.warmup_steps)
    return run.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizer(model, run: Run):
    """torch's AdamW, or bitsandbytes' with 8-bit moments. There, as transformers has it, embeddings keep 32-bit moments,
    and so does every tensor of less than 4096 elements."""
    betas, eps = (0.9, 0.999), 1e-8
    if run.optim == "adamw":
        return torch.optim.AdamW(groups(model, run.weight_decay), lr=run.learning_rate, betas=betas, eps=eps, fused=False,
                                 foreach=False)
    import bitsandbytes as bnb

    manager = bnb.optim.GlobalOptimManager.get_instance()
    manager.initialize()  # it knows parameters by id, which those of an earlier run may have had
    for m in model.modules():
        if isinstance(m, torch.nn.Embedding):
            manager.register_module_override(m, "weight", {"optim_bits": 32})
    return bnb.optim.AdamW8bit(groups(model, run.weight_decay), lr=run.learning_rate, betas=betas, eps=eps)


def loop(model, data, run: Run, bf16=False) -> list[dict]:
    """The plain loop. Trains model in place; one dict a step, with the Trainer's names."""
    model.train()
    optimizer = make_optimizer(model, run)
    params = [p for p in model.parameters() if p.requires_grad]
    steps = epoch_batches(data)
    log = []
    for step in range(STEPS):
        micro = steps[step % len(steps)]
        count = sum(trained(b) for b in micro)
        total = 0.0
        for batch in micro:
            loss = loss_of(model, batch, count, bf16)
            loss.backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(params, run.max_grad_norm)
        lr = rate(run, step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()
        log.append({"step": step + 1, "loss": total, "grad_norm": float(norm), "learning_rate": lr,
                    "micro_batches": len(micro), "tokens": count})
    return log


def trainer(model, data, run: Run, bf16=False) -> list[dict]:
    """The same run by transformers.Trainer."""
    with tempfile.TemporaryDirectory() as tmp:
        args = TrainingArguments(
            output_dir=tmp, use_cpu=True, per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION,
            max_steps=STEPS, learning_rate=run.learning_rate, lr_scheduler_type=run.scheduler,
            warmup_steps=run.warmup_steps, weight_decay=run.weight_decay, max_grad_norm=run.max_grad_norm, optim={"adamw": "adamw_torch", "adamw_8bit": "adamw_bnb_8bit"}[run.optim],
            logging_steps=1, logging_nan_inf_filter=False, save_strategy="no", eval_strategy="no", report_to=[],
            train_sampling_strategy="sequential", remove_unused_columns=False, disable_tqdm=True,
            label_names=["labels"], seed=0, bf16=bf16)
        t = Trainer(model=model, args=args, train_dataset=data, data_collator=collate)
        t.remove_callback(PrinterCallback)
        t.train()
    return [{k: float(h[k]) for k in ("loss", "grad_norm", "learning_rate")} for h in t.state.log_history if "loss" in h]


def gradient_batch(model, data):
    """(loss, global norm) of the first four rows as one batch; gradients stay on the parameters."""
    model.train()
    model.zero_grad()
    batch = collate(data[:GRADIENT_ROWS])
    loss = loss_of(model, batch, trained(batch))
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], float("inf"))
    return loss.detach(), norm


def run_yaml(run: Run, method: dict) -> dict:
    """run.yaml for lathe, paths relative to the folder it lies in; method holds the key of the method: `lora`, `prefix` or
    `adapter`, or nothing."""
    y = {
        "model_name_or_path": "..", "train_file": "rows.jsonl", "output_dir": "out", "method": run.method,
        "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": ACCUMULATION, "max_steps": STEPS,
        "learning_rate": run.learning_rate, "lr_scheduler_type": run.scheduler, "warmup_steps": run.warmup_steps,
        "weight_decay": run.weight_decay, "max_grad_norm": run.max_grad_norm, "optim": run.optim, "shuffle": False,
        "packing": False, "max_seq_length": 128, "logging_steps": 1, "eval_strategy": "no", "save_strategy": "no", "seed": 42,
    }
    if run.adapter:
        y["adapter_name_or_path"] = f"../adapters/{run.adapter}-init"
    y |= method
    if run.method == "qlora":
        y |= {"load_in_4bit": True, "bnb_4bit_quant_type": run.quant_type, "bnb_4bit_use_double_quant": run.double_quant,
              "bnb_4bit_compute_dtype": "float32"}
    return y


def schedules() -> dict:
    """Learning rates of 20 steps from transformers.get_scheduler, peak 1: {name: {warm-up steps: [rate of step 0, …]}}."""
    out = {}
    for name in ("linear", "cosine", "constant", "constant_with_warmup"):
        out[name] = {}
        for warmup in (0, 3):
            optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=STEPS)
            rates = []
            for _ in range(STEPS):
                rates.append(scheduler.get_last_lr()[0])
                optimizer.step()
                scheduler.step()
            out[name][str(warmup)] = rates
    return out
