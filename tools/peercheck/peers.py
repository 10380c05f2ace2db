"""The other side: transformers and PEFT in this process, the adapters library in one of its own environment."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "refdump"))
from models import load  # noqa: E402

from cases import PREFIX_SHAPES, Method, lora_config  # noqa: E402


@torch.no_grad()
def logprobs(model, ids: list[list[int]]) -> list[list[float]]:
    """Log-probability of each next token, every sequence alone."""
    out = []
    for x in ids:
        t = torch.tensor([x])
        lp = torch.log_softmax(model(t).logits[0, :-1].float(), -1)
        out.append(lp.gather(1, t[0, 1:, None])[:, 0].tolist())
    return out


def base(folder: Path, quant=None):
    return load(folder, quant[1], quant[0]) if quant else load(folder)


def adapted(folder: Path, adapter: Path, quant=None):
    return PeftModel.from_pretrained(base(folder, quant), adapter).eval()


def write(folder: Path, method: Method, family: str, out: Path) -> Path:
    """An adapter as PEFT saves it, with all that would train moved: with B zero an adapter that is ignored would pass."""
    torch.manual_seed(3)
    if method.prefix:
        config = PrefixTuningConfig(task_type="CAUSAL_LM", **method.prefix, **PREFIX_SHAPES.get(family, {}))
    else:
        config = LoraConfig(task_type="CAUSAL_LM", **lora_config(method, family))
    model = get_peft_model(base(folder), config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad and "lora_A" not in name:
                p.add_(0.1 * torch.randn(p.shape))
    model.save_pretrained(out, save_embedding_layers=False)
    return out


def moved(folder: Path, out: Path) -> Path:
    """A full fine-tune as transformers saves it: every weight moved a little."""
    torch.manual_seed(4)
    model = base(folder)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape))
    model.save_pretrained(out)
    return out


class AdaptersLibrary:
    """A child process in the environment of the adapters library: commands and answers are JSON lines."""

    def __init__(self, python: Path):
        self.child = subprocess.Popen([python, Path(__file__).with_name("adapters_side.py")], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **command):
        self.child.stdin.write(json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in command.items()}) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline() or '{"error": "it ended"}')
        if "error" in answer:
            raise RuntimeError(f"adapters library: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        self.child.stdin.close()
        self.child.wait()
