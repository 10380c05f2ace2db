"""Versions of the Python packages that gpucheck's other scripts use."""

import importlib.metadata
import json
import platform

versions = {"python": platform.python_version()}
for name in ["torch", "bitsandbytes", "transformers", "peft", "accelerate", "flash-attn"]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
if "bitsandbytes" not in versions:  # carried along as a bare package
    try:
        import bitsandbytes

        versions["bitsandbytes"] = bitsandbytes.__version__ + " (carried along)"
    except Exception:
        pass
print(json.dumps({"versions": versions}))
