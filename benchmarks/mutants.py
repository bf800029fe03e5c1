"""Mutants of addkit: one small fault at a time, which the tests near the file must catch.

`python benchmarks/mutants.py [--only WORD ...] [--list] [--jobs N] [--seconds S]`

`mutants.toml` is the table. A mutant replaces one piece of one file in a copy of the tree and runs
the tests of that file, the quickest file of tests first, until one fails. First all of these tests
must pass without a mutant. Exit codes: 0 if at most 2 % survive, else 1; 2 for a table that does
not fit the code.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter

import pytest

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".toml")
MOST_SURVIVORS = 0.02
PRELOADED = ("torchmetrics.classification", "timm", "torch._dynamo", "typer.main", "rich.table")
PRELOADED += ("pydantic", "nltk", "filelock", "safetensors.torch", "xdist.plugin")
"""Imported once; each run of tests is a fork, which then starts without waiting for them."""
PASSED, NO_TESTS = 0, 5
"""Exit codes of pytest. All others, a failed import and a crash too, mean that a mutant is dead."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One piece of text of a file, and what replaces it."""

    file: str
    """Below addkit/."""
    name: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Files of tests that must catch it."""
    equivalent: str = ""
    """The reason why no test can; such a mutant is not run."""

    @property
    def title(self) -> str:
        """Names it in the table of results, and for `--only`."""
        return f"{self.file}: {self.name}"


@dataclass(slots=True, eq=False)
class Session:
    """A run of pytest: as a plugin of it, seconds of each file and the first failure."""

    code: int = -signal.SIGKILL
    seconds: Counter[str] = field(default_factory=Counter)
    failed: str = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the phases of a test."""
        self.seconds[report.nodeid.partition("::")[0]] += report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported."""
        if report.failed:
            self.failed = self.failed or report.nodeid


def read_table(file: Path = TABLE) -> list[Mutant]:
    """The mutants; raises `ValueError` that names all that do not fit the code."""
    mutants, faults = [], []
    for path, entry in tomllib.loads(file.read_text("utf-8")).items():
        text = (ROOT / "addkit" / path).read_text("utf-8")
        tests = tuple(f"tests/{name}.py" for name in entry["tests"])
        faults += [f"{path}: no {name}" for name in tests if not (ROOT / name).is_file()]
        for row in entry["mutants"]:
            mutant = Mutant(path, row["is"], row["old"], row["new"], tests, row.get("equals", ""))
            if (count := text.count(mutant.old)) != 1 or mutant.old == mutant.new:
                faults.append(f"{mutant.title}: {count} places in the file, not 1")
            mutants.append(mutant)
    titles = Counter(mutant.title for mutant in mutants)
    faults += [f"{title}: twice in the table" for title, count in titles.items() if count > 1]
    if faults:
        raise ValueError("\n".join(faults))
    return mutants


def copy_tree(folder: Path) -> Path:
    """The files that git has or would add."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(words, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, tests: Sequence[str], seconds: float, *, first: bool) -> Session:
    """pytest over these files, with the tree's addkit, in a fork of this process."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_pytest, args=(tree, tests, first, theirs))
    process.start()
    theirs.close()
    session = Session()
    # An end of the file too, that of a process which has crashed, is something to read.
    if ours.poll(seconds):
        try:
            session = ours.recv()
        except EOFError:
            session.failed = "crashed"
    else:
        session.failed = f"over {seconds:g} s"
    # What its tests have started belongs to its group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    return session


def _pytest(tree: Path, tests: Sequence[str], first: bool, answer: object) -> None:
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    # For subprocesses of tests, too.
    os.environ.update(PYTHONPATH=str(tree), OMP_NUM_THREADS="1")
    if first:
        # A mutant's bytecode must not be taken for the next one's.
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
    session = Session()
    options = ["-q", "-x"] if first else ["-q"]
    options += ["-m", "not slow", "-p", "no:cacheprovider", "--basetemp", str(tree / ".pytest")]
    # Of a plugin of pytest that something preloaded has imported.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    session.code = int(pytest.main([*options, *tests], plugins=[session]))
    answer.send(session)  # type: ignore[attr-defined]
    os._exit(0)


def run_mutant(tree: Path, mutant: Mutant, tests: Sequence[str], seconds: float) -> Session:
    """The tests of a mutant, in a tree that is as before afterwards."""
    file = tree / "addkit" / mutant.file
    text, status = file.read_text("utf-8"), file.stat()
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    # Compiled code is taken by time in seconds and size, which a quick change may leave alone.
    os.utime(file, (0, 0))
    try:
        return run_tests(tree, tests, seconds, first=True)
    finally:
        file.write_text(text, encoding="utf-8")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def score(mutants: Sequence[Mutant], jobs: int, seconds: float) -> Iterator[tuple[Mutant, Session]]:
    """Each mutant and how its tests ended; raises `ValueError` if they fail without any."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copy_tree(Path(folder, "0"))
        every = sorted({name for mutant in mutants for name in mutant.tests})
        plain = run_tests(tree, every, 3600, first=False)
        if plain.code != PASSED:
            raise ValueError(f"the tests fail without a mutant: {plain.failed or plain.code}")
        trees: SimpleQueue[Path] = SimpleQueue()
        trees.put(tree)
        for number in range(1, jobs):
            # With the bytecode of the run before.
            trees.put(Path(shutil.copytree(tree, Path(folder, str(number)), symlinks=True)))

        def one(mutant: Mutant) -> tuple[Mutant, Session]:
            tree = trees.get()
            try:
                tests = sorted(mutant.tests, key=lambda name: plain.seconds[name])
                return mutant, run_mutant(tree, mutant, tests, seconds)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(jobs) as threads:
            for done in as_completed([threads.submit(one, mutant) for mutant in mutants]):
                yield done.result()


def main() -> int:
    """Run the table, or a part of it, and print the survivors."""
    parser = argparse.ArgumentParser(description="Mutants of addkit, and whether tests catch them.")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="in FILE: NAME")
    parser.add_argument("--list", action="store_true", help="print the table and run nothing")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--seconds", type=float, default=300, help="time limit of one mutant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    try:
        mutants = read_table()
        mutants = [m for m in mutants if any(word in m.title for word in arguments.only)]
        if arguments.list:
            for mutant in mutants:
                print(mutant.title, f"(equivalent: {mutant.equivalent})" * bool(mutant.equivalent))
            print(f"{len(mutants)} mutants")
            return 0
        return _report(mutants, arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _report(mutants: Sequence[Mutant], arguments: argparse.Namespace) -> int:
    for name in PRELOADED:
        import_module(name)
    begin, rows = perf_counter(), []
    equivalent = [mutant for mutant in mutants if mutant.equivalent]
    tried = [mutant for mutant in mutants if not mutant.equivalent]
    for mutant, session in score(tried, arguments.jobs, arguments.seconds):
        if session.code == NO_TESTS:
            raise ValueError(f"{mutant.title}: pytest found no tests")
        by = session.failed or f"exit code {session.code}"
        survived = session.code == PASSED
        rows.append({"mutant": mutant.title, "survived": survived, "by": "" if survived else by})
        print(f"{'SURVIVED' if survived else 'killed  '} {mutant.title}", end="")
        print("" if survived else f"  ({by})", flush=True)
    alive = [row["mutant"] for row in rows if row["survived"]]
    count = len(mutants)
    print(f"{count} mutants: {len(rows) - len(alive)} killed, {len(alive)} survived, ", end="")
    print(f"{len(equivalent)} equivalent, in {perf_counter() - begin:.0f} s")
    for title in alive:
        print(f"survived: {title}")
    for mutant in equivalent:
        print(f"equivalent: {mutant.title}: {mutant.equivalent}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return int(len(alive) + len(equivalent) > MOST_SURVIVORS * max(count, 1))


if __name__ == "__main__":
    sys.exit(main())
