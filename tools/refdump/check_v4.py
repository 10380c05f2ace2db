"""Does transformers 4.57 compute the same from dump/config.v4.json as transformers 5 did from config.json?

    python -m venv venv4 && venv4/bin/pip install -r requirements-v4.txt
    venv4/bin/python check_v4.py --ref ../../testdata/ref

Prints the largest difference of a logit of each folder that has the old config; exits 1 beyond 2e-5.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 2e-5  # float32 kernels called in another order; logits are of size 2


def attention(folder: Path) -> dict:
    """Gemma 2 eagerly: 4.57's sdpa leaves the softcap of the scores out."""
    return {"attn_implementation": "eager"} if folder.name == "gemma2" else {}


@torch.no_grad()
def difference(folder: Path) -> float:
    want = load_file(folder / "dump" / "forward.safetensors")
    with tempfile.TemporaryDirectory() as tmp:
        save_file(load_file(folder / "model.safetensors"), Path(tmp) / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / "dump" / "config.v4.json").read_text())
        if config["model_type"] == "gemma":  # 4.57 takes "gelu" at its word; Gemma and transformers 5 mean the tanh form
            config["hidden_act"] = "gelu_pytorch_tanh"
        (Path(tmp) / "config.json").write_text(json.dumps(config))
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            tmp, torch_dtype=torch.float32, output_loading_info=True, **attention(folder))
    assert not any(info.values()), info
    at, worst = 0, 0.0
    for n in want["lengths"].tolist():
        got = model.eval()(want["input_ids"][None, at:at + n]).logits[0]
        worst = max(worst, float((got - want["logits"][at:at + n]).abs().max()))
        at += n
    return worst


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--ref", type=Path, required=True, help="testdata/ref")
    args = p.parse_args()
    assert transformers.__version__.startswith("4."), f"transformers is {transformers.__version__}, wanted 4.57"
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    bad = 0
    for config in sorted(args.ref.glob("*/dump/config.v4.json")):
        gap = difference(config.parents[1])
        bad += not gap <= TOLERANCE
        print(f"{config.parents[1].name:<20} {gap:.1e}{'' if gap <= TOLERANCE else '  FAILED'}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
