"""Does PEFT read what lathe writes, and lathe what PEFT writes?

Scores the same ids with transformers + PEFT and with `lathe score --json`, adapter by adapter, and prints the largest
difference of a token's log-probability. Exits 1 where one is beyond --tolerance. README.md has examples.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}

import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: E402
from transformers.utils import logging  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "refdump"))
import nf4_flat  # noqa: E402,F401  bitsandbytes' CPU kernel gives weights a neighbour's scale where blocks cross rows

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Adapters that PEFT writes for lathe to read: what people set, one row each.
PEFT_WRITES = {
    "peft: all seven": dict(r=8, lora_alpha=16, target_modules=SEVEN),
    "peft: q, v, rsLoRA": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], use_rslora=True),
    "peft: regular expression": dict(r=4, lora_alpha=8, target_modules=r".*\.self_attn\.(q|o)_proj"),
    "peft: rank_pattern": dict(r=8, lora_alpha=16, target_modules=SEVEN, rank_pattern={"down_proj": 2},
                               alpha_pattern={"q_proj": 32}),
    "peft: one layer": dict(r=8, lora_alpha=16, target_modules=["v_proj"], layers_to_transform=[1]),
}


def main() -> int:
    args = arguments()
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        ids = read_ids(args, tmp)
        check = Check(args, ids, tmp)
        check.pair("no adapter", None)
        for folder in args.adapter:
            check.pair(f"lathe: {folder}", folder)
        if args.train:
            check.train(args.train)
        if not args.only_adapter:
            for i, (name, config) in enumerate(PEFT_WRITES.items()):
                check.pair(name, write_adapter(args.base, config, tmp / f"peft-{i}"))
        return check.report()


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--lathe", type=Path, required=True, help="the lathe binary")
    p.add_argument("--base", type=Path, required=True, help="base model folder")
    p.add_argument("--adapter", type=Path, action="append", default=[], help="adapter that lathe wrote (repeat)")
    p.add_argument("--train", type=Path, help="folder with run.yaml, as testdata/ref/llama-gqa/train-lora: train it with "
                   "lathe, compare its losses with losses.json where there is one, then check the adapter")
    p.add_argument("--only-adapter", action="store_true", help="leave the adapters that PEFT writes out")
    p.add_argument("--ids", type=Path, help='JSON lines {"ids": […]} (default: five random sequences)')
    p.add_argument("--load-in-4bit", action="store_true", help="quantise the base to NF4 on both sides")
    p.add_argument("--single-quant", action="store_true", help="with --load-in-4bit: without double quantisation")
    p.add_argument("--tolerance", type=float, default=1e-4, help="largest difference of a log-probability")
    p.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    args = p.parse_args()
    args.lathe = args.lathe.resolve()
    for path in [args.lathe, args.base / "config.json", *(a / "adapter_config.json" for a in args.adapter)]:
        if not path.exists():
            p.error(f"{path} is not there")
    return args


def read_ids(args, tmp: Path) -> list[list[int]]:
    if args.ids:
        return [json.loads(line)["ids"] for line in args.ids.read_text().splitlines() if line.strip()]
    config = json.loads((args.base / "config.json").read_text())
    longest = min(96, config["max_position_embeddings"])
    g = torch.Generator().manual_seed(1)
    ids = [torch.randint(0, config["vocab_size"], (n,), generator=g).tolist() for n in (2, 7, 16, 33, longest)]
    args.ids = tmp / "ids.jsonl"
    args.ids.write_text("".join(json.dumps({"ids": x}) + "\n" for x in ids))
    return ids


class Check:
    """Scores by both programs, and what came of it."""

    def __init__(self, args, ids, tmp):
        self.args, self.ids, self.tmp = args, ids, tmp
        self.lines = []

    def pair(self, name: str, adapter: Path | None) -> None:
        try:
            ours = self.score_lathe(adapter)
            theirs = self.score_peft(adapter)
        except (RuntimeError, ValueError) as e:
            self.line(name, None, str(e).strip())
            return
        if [len(x) for x in ours] != [len(x) for x in theirs]:
            self.line(name, None, f"lathe gives {[len(x) for x in ours]} values, wanted {[len(x) for x in theirs]}")
            return
        if adapter is None:
            self.base = theirs
        elif largest(theirs, self.base) < 1e-5:
            self.line(name, None, "PEFT gives the base's scores with it: nothing trained, or names that PEFT ignores")
            return
        self.line(name, largest(ours, theirs), "")

    def line(self, name, gap, note, tolerance=None):
        ok = gap is not None and gap <= (tolerance or self.args.tolerance)  # NaN is not ok
        self.lines.append({"check": name, "max_difference": gap, "ok": ok, "note": note})

    def score_lathe(self, adapter) -> list[list[float]]:
        cmd = [self.args.lathe, "score", "--model", self.args.base, "--ids", self.args.ids, "--json", "--device", "cpu"]
        cmd += ["--adapter", adapter] if adapter else []
        cmd += ["--load-in-4bit"] if self.args.load_in_4bit else []
        cmd += ["--double-quant=false"] if self.args.single_quant else []
        return [json.loads(line)["logprobs"] for line in run(cmd).splitlines()]

    @torch.no_grad()
    def score_peft(self, adapter) -> list[list[float]]:
        model = load(self.args.base, self.args.load_in_4bit, not self.args.single_quant)
        if adapter:
            model = PeftModel.from_pretrained(model, adapter).eval()
        out = []
        for x in self.ids:
            t = torch.tensor([x])
            lp = torch.log_softmax(model(t).logits[0, :-1].float(), -1)
            out.append(lp.gather(1, t[0, 1:, None])[:, 0].tolist())
        return out

    def train(self, folder: Path) -> None:
        """Trains folder/run.yaml with lathe into a temporary output_dir, compares losses, scores the adapter."""
        import yaml

        run_yaml = yaml.safe_load((folder / "run.yaml").read_text())
        for key in ("model_name_or_path", "train_file", "adapter_name_or_path"):
            if run_yaml.get(key):
                run_yaml[key] = str((folder / run_yaml[key]).resolve())
        run_yaml["output_dir"] = str(self.tmp / "out")
        config = self.tmp / "run.yaml"
        config.write_text(yaml.safe_dump(run_yaml))
        try:
            events = [json.loads(x) for x in run([self.args.lathe, "train", "-c", config, "--json", "--device", "cpu"]).splitlines()]
        except (RuntimeError, ValueError) as e:
            self.line(f"train {folder}", None, str(e).strip())
            return
        steps = [e for e in events if e.get("event") == "step"]
        if (folder / "losses.json").exists():
            want = json.loads((folder / "losses.json").read_text())["steps"]
            self.compare_logs(folder, steps, want)
        if run_yaml["method"] != "full":
            self.pair(f"lathe: trained {folder.name}", self.tmp / "out")

    def compare_logs(self, folder, steps, want) -> None:
        if len(steps) != len(want):
            self.line(f"train {folder.name}", None, f"{len(steps)} steps, wanted {len(want)}")
            return
        for key, tolerance in (("loss", 2e-4), ("grad_norm", 2e-3), ("learning_rate", 1e-6)):
            gap = max(abs(a[key] - b[key]) / max(abs(b[key]), 1e-12) for a, b in zip(steps, want))
            self.line(f"train {folder.name}: {key}, relative", gap, f"tolerance {tolerance:g}", tolerance)

    def report(self) -> int:
        if self.args.json:
            for x in self.lines:
                print(json.dumps(x))
        else:
            width = max(len(x["check"]) for x in self.lines)
            print(f"{'check':<{width}}  max |difference|")
            for x in self.lines:
                gap = "-" if x["max_difference"] is None else f"{x['max_difference']:.1e}"
                print(f"{x['check']:<{width}}  {gap:>8}  {'ok' if x['ok'] else 'FAILED'}  {x['note']}".rstrip())
        return 0 if all(x["ok"] for x in self.lines) else 1


def largest(a, b) -> float:
    return max(abs(p - q) for x, y in zip(a, b, strict=True) for p, q in zip(x, y, strict=True))


def run(cmd) -> str:
    done = subprocess.run([str(c) for c in cmd], capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["(nothing on stderr)"])[-1]
        raise RuntimeError(f"{' '.join(str(c) for c in cmd[:2])} ended with {done.returncode}: {last}")
    return done.stdout


def load(base: Path, four_bit: bool, double: bool):
    kw = {}
    if four_bit:
        kw["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                                                       bnb_4bit_use_double_quant=double, bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **kw).eval()
    for m in model.modules():
        if hasattr(m, "support_avx512bf16_for_cpu"):  # bitsandbytes would multiply in bfloat16
            m.support_avx512bf16_for_cpu = False
    return model


def write_adapter(base: Path, config: dict, folder: Path) -> Path:
    """An adapter as PEFT saves it, with B random: with B zero an adapter that is ignored would pass."""
    model = get_peft_model(load(base, False, False), LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


if __name__ == "__main__":
    sys.exit(main())
