"""Fails, naming the package, where an installed version is not the one of requirements.txt."""

import importlib.metadata
import sys
from pathlib import Path

for line in (Path(__file__).parent / "requirements.txt").read_text().splitlines():
    if line and not line.startswith("#"):
        name, want = line.split("==")
        got = importlib.metadata.version(name).split("+")[0]
        if got != want:
            sys.exit(f"{name} is {got}, requirements.txt wants {want}: pip install -r requirements.txt")
