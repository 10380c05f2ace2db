"""Do PEFT, transformers and the adapters library read what lathe writes, and lathe what they write?

    tools/peercheck/run.sh                                             # everything; README.md
    python peercheck.py --lathe LATHE --only gemma2 --methods lora     # some rows
    python peercheck.py --lathe LATHE --base DIR --adapter DIR         # an adapter of your own

Prints the largest difference of a log-probability by family, method and direction. Exits 1 where one is beyond the
tolerance, where a program fails, or where an adapter changes nothing.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
               "MKL_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}

import torch  # noqa: E402
from transformers.utils import logging  # noqa: E402

import peers  # noqa: E402
from cases import EXPLAINED, FAMILIES, METHODS, QUANTISED, Method, run_yaml  # noqa: E402
from lathe import Lathe, layout, same_tensors  # noqa: E402

TOLERANCE = 1e-4  # of a log-probability, float32 on both sides
LOOKS_IGNORED = 1e-5  # an adapter that moves no log-probability by more was not applied
ROOT = Path(__file__).resolve().parents[2]
REF, RESULTS = ROOT / "testdata" / "ref", ROOT / "testdata" / "peer" / "results.json"
IGNORED = "gives the base's scores: nothing trained, or names that are ignored"


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as tmp:
        check = Check(args, Path(tmp))
        if args.base:
            check.own()
        else:
            check.table()
        return check.report()


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--lathe", type=Path, required=True, help="the lathe binary")
    p.add_argument("--adapters-python", type=Path, help="python of the adapters library's environment (else its rows are left out)")
    p.add_argument("--only", nargs="*", help="folders of testdata/ref (default: every family)")
    p.add_argument("--methods", nargs="*", help="methods (default: every one)")
    p.add_argument("--results", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}; only with every row")
    p.add_argument("--base", type=Path, help="a model of your own, in place of the table")
    p.add_argument("--adapter", type=Path, action="append", default=[], help="with --base: an adapter (repeat)")
    p.add_argument("--quant", choices=QUANTISED, help="with --base: quantise it on both sides")
    args = p.parse_args()
    args.lathe = args.lathe.resolve()
    if args.results and (args.only or args.methods or args.base or not args.adapters_python):
        p.error("--results is for every row: leave --only, --methods and --base out, and name --adapters-python")
    return args


def sequences() -> list[list[int]]:
    """Five sequences of the tiny vocabulary; the longest is beyond every window and beyond the contexts that scale."""
    g = torch.Generator().manual_seed(1)
    return [torch.randint(5, 272, (n,), generator=g).tolist() for n in (2, 7, 16, 33, 96)]


def largest(a, b) -> float:
    if [len(x) for x in a] != [len(x) for x in b]:
        raise RuntimeError(f"{[len(x) for x in a]} values against {[len(x) for x in b]}")
    gaps = [abs(p - q) for x, y in zip(a, b) for p, q in zip(x, y)]
    return float("nan") if any(g != g for g in gaps) else max(gaps)


def verdict(r: dict) -> str:
    return "ok" if r["ok"] else "explained" if r.get("explained") else "FAILED"


class Check:
    """Runs the rows and keeps what came of each."""

    def __init__(self, args, tmp: Path):
        self.args, self.tmp, self.rows, self.count = args, tmp, [], 0
        self.ids = sequences()
        self.lathe = Lathe(args.lathe, self.ids, tmp)
        self.library = peers.AdaptersLibrary(args.adapters_python) if args.adapters_python else None

    def folder(self) -> Path:
        """A new name; the folder of the row before last is removed: full models add up."""
        self.count += 1
        if self.count > 4:
            shutil.rmtree(self.tmp / f"w{self.count - 4}", ignore_errors=True)
        return self.tmp / f"w{self.count}"

    # Rows ----------------------------------------------------------------------------------------------------------

    def table(self) -> None:
        for family in FAMILIES:
            if self.args.only and family not in self.args.only:
                continue
            model = REF / family
            self.row(family, "base", "transformers → lathe", lambda: (self.theirs(model), self.lathe.score(model)))
            for m in METHODS:
                if (m.families is None or family in m.families) and not (self.args.methods and m.name not in self.args.methods):
                    self.method(family, m)
            if not self.args.methods or "pre-quantised" in self.args.methods:
                self.quantised(family)

    def method(self, family: str, m: Method) -> None:
        if m.method == "adapter":
            if self.library:
                self.bottleneck(family, m)
        elif m.method == "full":
            self.full(family, m)
        else:
            self.peft(family, m)

    def peft(self, family: str, m: Method) -> None:
        base = REF / family
        plain = self.theirs(base, quant=m.quant)
        out, theirs = self.folder(), self.folder()
        read = lambda: self.theirs(base, out, m.quant)  # noqa: E731
        run = run_yaml(m, family)
        self.row(family, m.name, "lathe → PEFT", lambda: (
            self.lathe.train(self.absolute(run), out) and self.lathe.score(base, out, m.quant), read()), plain, run, out)
        if m.merge and (out / "adapter_config.json").exists():
            merged = self.folder()
            self.row(family, m.name, "lathe, merged → transformers",
                     lambda: (read(), self.theirs(self.lathe.merge(out, merged, m.quant))), plain)
        self.row(family, m.name, "PEFT → lathe", lambda: (
            peers.write(base, m, family, theirs) and self.theirs(base, theirs, m.quant), self.lathe.score(base, theirs, m.quant)),
            plain, like=(out, theirs))
        if m.merge and not m.quant:
            merged = self.folder()
            self.row(family, m.name, "PEFT, merged → lathe", lambda: (
                self.theirs(base, theirs), self.lathe.score(self.unloaded(base, theirs, merged))), plain)
        if family == m.first:
            self.on(family, m, theirs)

    def on(self, family: str, m: Method, theirs: Path) -> None:
        """lathe goes on from what PEFT wrote, and PEFT reads what came of it: not the same scores as before."""
        base, out = REF / family, self.folder()
        run = self.absolute(run_yaml(m, family)) | {"adapter_name_or_path": str(theirs)}
        before = self.theirs(base, theirs, m.quant)
        self.row(family, m.name, "PEFT → lathe → PEFT", lambda: (
            self.lathe.train(run, out) and self.lathe.score(base, out, m.quant), self.theirs(base, out, m.quant)), before,
            like=(out, theirs))

    def full(self, family: str, m: Method) -> None:
        base, out, theirs, run = REF / family, self.folder(), self.folder(), run_yaml(m, family)
        plain = self.theirs(base)
        self.row(family, m.name, "lathe → transformers", lambda: (
            self.lathe.train(self.absolute(run), out) and self.lathe.score(out), self.theirs(out)), plain, run)
        self.row(family, m.name, "transformers → lathe", lambda: (
            peers.moved(base, theirs) and self.theirs(theirs), self.lathe.score(theirs)), plain)

        if self.library and (base / "dump" / "config.v4.json").exists():
            self.old(family, m)

    def old(self, family: str, m: Method) -> None:
        """The same from a base whose config.json is of transformers 4, read by transformers 4."""
        base, out = self.folder(), self.folder()
        base.mkdir()
        for f in (REF / family).iterdir():
            if f.is_file():
                shutil.copy(f, base)
        shutil.copy(REF / family / "dump" / "config.v4.json", base / "config.json")
        score = lambda folder: self.library.ask(do="score", model=folder, ids=self.ids)  # noqa: E731
        run = self.absolute(run_yaml(m, family)) | {"model_name_or_path": str(base)}
        self.row(family, m.name, "lathe → transformers 4", lambda: (
            self.lathe.train(run, out) and self.lathe.score(out), score(out)), self.theirs(REF / family))

    def bottleneck(self, family: str, m: Method) -> None:
        base, out, theirs, run = REF / family, self.folder(), self.folder(), run_yaml(m, family)
        kind = m.adapter["config"]
        score = lambda adapter: self.library.ask(do="score", model=base, adapter=adapter, name=kind, ids=self.ids)  # noqa: E731
        plain = self.theirs(base)
        self.row(family, m.name, "lathe → adapters", lambda: (
            self.lathe.train(self.absolute(run), out) and self.lathe.score(base, out), score(out)), plain, run, out)

        def read():
            self.library.ask(do="write", model=base, name=kind, reduction_factor=m.adapter["reduction_factor"], out=theirs)
            return score(theirs), self.lathe.score(base, theirs)
        self.row(family, m.name, "adapters → lathe", read, plain, like=(out, theirs))
        if family != m.first:
            return
        on, before = self.folder(), score(theirs)
        self.row(family, m.name, "adapters → lathe → adapters", lambda: (
            self.lathe.train(self.absolute(run) | {"adapter_name_or_path": str(theirs)}, on) and self.lathe.score(base, on),
            score(on)), before)

    def quantised(self, family: str) -> None:
        """Checkpoints that transformers and bitsandbytes wrote in 4 bits; transformers 5.23 quantises no Falcon layer."""
        if family.startswith("falcon"):
            return
        for name, quant in QUANTISED.items():
            if family != "llama-gqa" and name != "nf4-double":
                continue
            out, adapter = self.folder(), self.folder()

            def read(out=out, quant=quant):
                peers.base(REF / family, quant).save_pretrained(out)
                return self.theirs(out), self.lathe.score(out)
            self.row(family, f"pre-quantised {name}", "transformers → lathe", read)
            run = run_yaml(next(m for m in METHODS if m.name == "qlora"), family) | {
                "model_name_or_path": str(out), "train_file": str(REF / "llama-gqa/train-lora/rows.jsonl"), "bnb_4bit_quant_type": quant[0],
                "bnb_4bit_use_double_quant": quant[1]}
            self.row(family, f"pre-quantised {name}", "lathe → PEFT", lambda: (
                self.lathe.train(run, adapter) and self.lathe.score(out, adapter), self.theirs(out, adapter)), self.theirs(out))

    def own(self) -> None:
        quant = QUANTISED[self.args.quant] if self.args.quant else None
        base = self.args.base
        plain = self.theirs(base, quant=quant)
        self.row(base.name, "base", "transformers → lathe", lambda: (plain, self.lathe.score(base, None, quant)))
        for a in self.args.adapter:
            self.row(base.name, str(a), "both read it", lambda a=a: (self.theirs(base, a, quant), self.lathe.score(base, a, quant)), plain)

    # Helpers -------------------------------------------------------------------------------------------------------

    def theirs(self, base: Path, adapter: Path | None = None, quant=None):
        return peers.logprobs(peers.adapted(base, adapter, quant) if adapter else peers.base(base, quant), self.ids)

    def unloaded(self, base: Path, adapter: Path, out: Path) -> Path:
        peers.adapted(base, adapter).merge_and_unload().save_pretrained(out)
        return out

    def absolute(self, run: dict) -> dict:
        return run | {k: str(REF / run[k]) for k in ("model_name_or_path", "train_file")}

    def row(self, family, method, direction, work, plain=None, run=None, written: Path | None = None, like=None) -> None:
        """One line: work gives two lists of scores; plain are the base's, from which they must differ. like are two adapters,
        lathe's and the library's, whose tensors must have the same names, types and shapes."""
        r = {"family": family, "method": method, "direction": direction, "worst": None, "tolerance": TOLERANCE, "ok": False, "note": ""}
        try:
            a, b = work()
            r["worst"] = largest(a, b)
            r["ok"] = r["worst"] <= TOLERANCE  # NaN is not
            if plain is not None and largest(b, plain) < LOOKS_IGNORED:
                r["ok"], r["note"] = False, IGNORED
            if written:
                r["layout"] = layout(written)
            if like and (odd := same_tensors(*like)):
                r["ok"], r["note"] = False, odd
        except Exception as e:  # noqa: BLE001  a row that fails is a row of the table
            said = (str(e).strip() or type(e).__name__).splitlines()[0]
            r["note"] = said.replace(f"{self.tmp}/", "").replace(str(ROOT), ".")
        if run:
            r["run"] = run
        why = EXPLAINED.get((family, method, direction)) or EXPLAINED.get((family, method, None))
        if not r["ok"] and why:
            r |= {"explained": True, "note": why}
        self.rows.append(r)
        gap = "-" if r["worst"] is None else f"{r['worst']:.1e}"
        print(f"{family:<19}{method:<25}{direction:<30}{gap:>8}  {verdict(r)}  {r['note']}".rstrip(), flush=True)

    def report(self) -> int:
        bad = [r for r in self.rows if verdict(r) == "FAILED"]
        worst = max((r["worst"] for r in self.rows if r["worst"] is not None and not r.get("explained")), default=0.0)
        print(f"{len(self.rows)} rows, {len(bad)} beyond {TOLERANCE:g} or failed; largest difference {worst:.1e}")
        if self.args.results:
            self.write()
        if self.library:
            self.library.close()
        return 1 if bad else 0

    def write(self) -> None:
        from files import versions, write_json  # refdump's

        head = {"date": datetime.date.today().isoformat(), "lathe": commit(),
                "versions": versions("torch", "transformers", "peft", "bitsandbytes", "safetensors"),
                "versions_adapters": self.library.ask(do="versions"),
                "command": "tools/peercheck/run.sh --results"}
        write_json(RESULTS, head | {"rows": self.rows})


def commit() -> str:
    """The last commit that changed lathe itself."""
    done = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", "*.go", "*.c", "*.h", ":!*_test.go", ":!tools"],
                          capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
