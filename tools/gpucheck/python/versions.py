"""Versions of the Python packages that gpucheck's other scripts use."""

import importlib.metadata
import importlib.util
import json
import platform
import re

versions = {"python": platform.python_version()}
for name in ["torch", "bitsandbytes", "transformers", "peft", "accelerate", "flash-attn"]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
if "bitsandbytes" not in versions:  # carried along as a bare package; importing it would import torch, which takes a cold disk 20 s
    found = importlib.util.find_spec("bitsandbytes")
    if found and found.origin:
        with open(found.origin) as source:
            version = re.search(r"^__version__ = [\"'](.+)[\"']", source.read(), re.MULTILINE)
        versions["bitsandbytes"] = (version.group(1) if version else "of unknown version") + " (carried along)"
print(json.dumps({"versions": versions}))
