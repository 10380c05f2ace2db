"""Small helpers: where files go and how they are written, so that a second run gives the same bytes."""

import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file


def write_json(path: Path, value) -> None:
    """Indented by one; a list of numbers stays on one line."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    text = re.sub(r"\[[\s\d,.eE+-]+\]", lambda m: "[" + ", ".join(m[0][1:-1].replace(",", " ").split()) + "]", text)
    assert json.loads(text) == value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def write_jsonl(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: t.detach().contiguous().clone() for k, t in tensors.items()}, path)


def fresh(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
