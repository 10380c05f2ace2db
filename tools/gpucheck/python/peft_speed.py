"""Seconds a step and memory of transformers with PEFT on a model folder: peft_speed.py CONFIG.json.

The configuration has model, rows, four_bit, r, alpha, checkpointing, steps, learning_rate. The loop is transformers' Trainer's without
its logging: forward, backward, clipping, AdamW, in bfloat16.
"""

import json
import statistics
import sys
import time

try:
    import peft
    import torch
    import transformers
except ImportError as e:
    print(json.dumps({"missing": f"{e.name} is not installed"}))
    sys.exit(0)
if not torch.cuda.is_available():
    print(json.dumps({"missing": "this torch sees no GPU"}))
    sys.exit(0)

config = json.load(open(sys.argv[1]))
began = time.time()
options = {"dtype": torch.bfloat16, "device_map": {"": 0}, "attn_implementation": "sdpa"}
if config["four_bit"]:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as e:
        print(json.dumps({"missing": f"bitsandbytes: {e}"}))
        sys.exit(0)
    options["quantization_config"] = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16)
model = transformers.AutoModelForCausalLM.from_pretrained(config["model"], **options)
model.config.use_cache = False
if config["four_bit"]:
    model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=config["checkpointing"])
elif config["checkpointing"]:
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
model = peft.get_peft_model(model, peft.LoraConfig(
    r=config["r"], lora_alpha=config["alpha"], lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=config["learning_rate"], fused=True)
loaded = time.time() - began

rows = [json.loads(line)["input_ids"] for line in open(config["rows"])]
torch.cuda.reset_peak_memory_stats()
model.train()
losses, seconds = [], []
for step in range(config["steps"]):
    ids = torch.tensor([rows[step % len(rows)]], device="cuda")
    torch.cuda.synchronize()
    start = time.time()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    torch.cuda.synchronize()
    seconds.append(time.time() - start)
    losses.append(loss.item())
tokens = len(rows[0])
print(json.dumps({
    "tokens_per_second": tokens / statistics.median(seconds[2:]), "losses": losses, "load_seconds": loaded,
    "peak_allocated": torch.cuda.max_memory_allocated(), "peak_reserved": torch.cuda.max_memory_reserved(),
    "what": f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}",
}))
