"""The adapters library's side of peercheck, run in its own environment: JSON commands on stdin, answers on stdout.

{"do": "versions"}; {"do": "write", "model", "name", "reduction_factor", "out"}: a random adapter as the library saves it;
{"do": "score", "model", "adapter", "name", "ids"}: log-probabilities; without "adapter", of the model as transformers 4 has it.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "refdump"))
import bottleneck  # noqa: E402
import forward  # noqa: E402
import torch  # noqa: E402
from files import versions  # noqa: E402


def write(c: dict) -> None:
    torch.manual_seed(5)
    model = bottleneck.load(Path(c["model"]))
    model.add_adapter(c["name"], config=bottleneck.CONFIGS[c["name"]](reduction_factor=c["reduction_factor"]))
    with torch.no_grad():
        for n, p in model.named_parameters():
            if f".{c['name']}." in n:
                p.add_(0.2 * torch.randn(p.shape))
    model.save_adapter(c["out"], c["name"], with_head=False, use_safetensors=True)


def score(c: dict) -> list[list[float]]:
    folder = Path(c["model"])
    model = bottleneck.active(folder, c["name"], Path(c["adapter"])) if c.get("adapter") else bottleneck.plain(folder)
    ids = [torch.tensor(x) for x in c["ids"]]
    return [forward.next_logprobs(forward.logits_alone(model, [x]), [x]).tolist() for x in ids]


def main() -> None:
    torch.set_num_threads(1)
    bottleneck.logging.set_verbosity_error()
    commands = {"write": write, "score": score, "versions": lambda c: versions("adapters", "transformers", "torch")}
    for line in sys.stdin:
        c = json.loads(line)
        try:
            answer = {"result": commands[c["do"]](c)}
        except Exception as e:  # the parent names the row that failed
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
