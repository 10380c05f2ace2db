"""Small helpers: where files go and how they are written, so that a second run gives the same bytes."""

import hashlib
import importlib.metadata
import json
import platform
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


def versions(*packages: str) -> dict[str, str]:
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages}


def manifest(root: Path, made_by: dict) -> None:
    """MANIFEST.json: the versions, and the SHA-256 of every file; what another program made stays as it noted it."""
    path = root / "MANIFEST.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = {k: x for k, x in before.items() if k.startswith("versions")}
    files = sorted(p for p in root.rglob("*") if p.is_file() and p != path)
    write_json(path, {"command": "tools/refdump/run.sh"} | kept | made_by | {
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(), "threads": 1,
        "sha256": {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}})
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.2f} MB")
