"""Trains what `lathe bench train --keep` wrote with transformers, PEFT and bitsandbytes: the same checkpoint, rows and order.

    python peft_train.py --run DIR/run.yaml --steps 3 --threads 2

Prints a JSON line a step as it ends, and one at the end with versions and the process's high water. run.yaml is JSON here. Rows
are padded to the longest of their batch with an attention mask, labels with -100, as transformers' DataCollatorForSeq2Seq does.
bf16 is autocast over float32 weights, as transformers.Trainer does it; QLoRA is NF4 with double quantisation.
"""

import argparse
import json
import resource
import sys
import time

import peft
import torch
import transformers

MODULES = [torch, transformers, peft]


def load(run):
    """The model with what is trained, in training mode."""
    bf16 = run["bf16"] or run["load_in_4bit"] and run["bnb_4bit_compute_dtype"] == "bfloat16"
    options = {"dtype": torch.float32}
    if run["load_in_4bit"]:
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if bf16 else torch.float32,
        )
        options["device_map"] = "cpu"
        import bitsandbytes  # only who needs it waits for it

        MODULES.append(bitsandbytes)
    model = transformers.AutoModelForCausalLM.from_pretrained(run["model_name_or_path"], **options)
    model.config.use_cache = False
    if run["method"] != "full":
        lora = run["lora"]
        config = peft.LoraConfig(r=lora["r"], lora_alpha=lora["lora_alpha"], lora_dropout=0.0, target_modules="all-linear")
        model = peft.get_peft_model(model, config)
    model.train()
    return model, bf16


def collate(rows):
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(key, value):
        return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])

    batch = {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100)}
    if any(len(row["input_ids"]) < longest for row in rows):
        mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        batch["attention_mask"] = torch.tensor(mask)
    return batch, sum(len(row["input_ids"]) for row in rows)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--run", required=True)
    arguments.add_argument("--steps", type=int, default=3)
    arguments.add_argument("--threads", type=int, required=True)
    a = arguments.parse_args()
    torch.set_num_threads(a.threads)
    with open(a.run) as file:
        run = json.load(file)
    with open(run["train_file"]) as file:
        rows = [json.loads(line) for line in file]
    model, bf16 = load(run)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=run["learning_rate"], weight_decay=0.0)
    size = run["per_device_train_batch_size"]
    for step in range(a.steps):
        start = time.perf_counter()
        batch, tokens = collate(rows[step * size : (step + 1) * size])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        line = {
            "event": "step",
            "step": step + 1,
            "loss": loss.item(),
            "tokens": tokens,
            "padded_tokens": batch["input_ids"].numel(),
            "seconds": time.perf_counter() - start,
        }
        print(json.dumps(line), flush=True)
    versions = {m.__name__: m.__version__ for m in MODULES}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"event": "done", "versions": versions, "peak_memory": peak}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
