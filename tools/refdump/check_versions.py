"""Fails, naming the package, where an installed version is not the one of the requirements file that it is given."""

import importlib.metadata
import sys
from pathlib import Path

for line in Path(sys.argv[1]).read_text().splitlines():
    if line and not line.startswith("#"):
        name, want = line.split("==")
        got = importlib.metadata.version(name).split("+")[0]
        if got != want:
            sys.exit(f"{name} is {got}, {sys.argv[1]} wants {want}: pip install -r {sys.argv[1]}")
