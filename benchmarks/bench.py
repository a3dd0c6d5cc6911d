"""What every benchmark is given: a folder, a number of rounds and how long one may take."""

import argparse
import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.report import Result
from benchmarks.signing import Keys, new_keys

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bench:
    """The bounds of a run."""

    folder: Path
    keys: Keys
    rounds: int
    seconds: float
    objects: int


Measure = Callable[[Bench], Sequence[Result]]


def run_alone(measure: Measure, description: str) -> None:
    """Run one benchmark from the command line: print its table, write its JSON if wanted."""
    arguments = parse(description)
    name = description.split(":", maxsplit=1)[0]
    with prepared(arguments) as bench:
        results = measure(bench)
    print(report.table(results))
    if arguments.json is not None:
        report.write_json(arguments.json, {name: results})


def parse(description: str) -> argparse.Namespace:
    """Read the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a timed round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median is shown")
    parser.add_argument("--objects", type=int, default=1_000_000, help="keys in the large bucket")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--folder", type=Path, help="where the data goes (a folder is made in it)")
    parser.add_argument("--warm-mib", type=int, default=2048, help="memory to touch beforehand")
    return parser.parse_args()


@contextmanager
def prepared(arguments: argparse.Namespace) -> Iterator[Bench]:
    """Touch memory, make a folder, and remove it at the end."""
    touch_memory(arguments.warm_mib)
    parent = arguments.folder or Path("/var/tmp")  # noqa: S108 - /tmp may be memory, not a disk
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    try:
        yield Bench(folder, new_keys(), arguments.rounds, arguments.seconds, arguments.objects)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def touch_memory(mib: int) -> None:
    """Have a virtual machine's host hand over memory before anything is measured.

    The first touch of a guest page costs far more than any later one.
    """
    if mib <= 0:
        return
    with mmap.mmap(-1, mib * MIB) as memory:
        for at in range(0, mib * MIB, mmap.PAGESIZE):
            memory[at] = 1


def subfolder(bench: Bench, name: str) -> Path:
    """Make a folder for one server or one measurement."""
    path = bench.folder / name
    path.mkdir()
    return path
