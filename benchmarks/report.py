"""Results: what was measured, against which limit and which floor, as a table and as JSON."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.accounting import machine_facts

ROOT = Path(__file__).parent.parent
_README = ROOT / "benchmarks" / "README.md"
_BEGIN = "<!-- results: begin -->"
_END = "<!-- results: end -->"


@dataclass(frozen=True, slots=True)
class Floor:
    """What the first build must reach, and what was reached."""

    measured: float
    bound: float
    unit: str
    is_ceiling: bool = True
    """True: at most the bound; False: at least."""

    @property
    def is_met(self) -> bool:
        """Tell whether it was reached."""
        return self.measured <= self.bound if self.is_ceiling else self.measured >= self.bound

    def __str__(self) -> str:
        """Return bound and verdict."""
        sign = "≤" if self.is_ceiling else "≥"
        verdict = "met" if self.is_met else "**not met**"
        return f"{_number(self.measured)} {sign} {_number(self.bound)} {self.unit}: {verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row of the table: medians over the rounds."""

    case: str
    per_second: float | None = None
    mb_per_s: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    cpu_us: float | None = None
    """The workers' CPU time for one request."""
    limit: str = ""
    """The machine's own rate for the same thing, measured in the same run."""
    of_limit: float | None = None
    floors: tuple[Floor, ...] = ()
    note: str = ""

    def cells(self) -> list[str]:
        """Return the row's text."""
        return [
            self.case + (f" ({self.note})" if self.note else ""),
            _number(self.per_second),
            _number(self.mb_per_s),
            _number(self.p50_us),
            _number(self.p99_us),
            _number(self.cpu_us),
            self.limit,
            _number(self.of_limit),
            "; ".join(map(str, self.floors)),
        ]


_TITLES = ["case", "per s", "MB/s", "p50 µs", "p99 µs", "CPU µs", "limit", "of limit", "floor"]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def middle(rounds: Sequence[float]) -> float:
    """Return the median of what the rounds gave."""
    return median(rounds)


def table(results: Sequence[Result]) -> str:
    """Return results as a Markdown table with aligned columns."""
    rows = [_TITLES, *(result.cells() for result in results)]
    used = [at for at in range(len(_TITLES)) if any(row[at] for row in rows[1:])]
    rows = [[row[at] for at in used] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(used))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def facts() -> dict[str, str]:
    """Return machine, commit and date."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        **machine_facts(),
        "commit": done.stdout.strip() or "unknown",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def write_json(path: Path, groups: Mapping[str, Sequence[Result]]) -> None:
    """Write everything that was measured, with the facts of the machine."""
    document = {
        "facts": facts(),
        "results": {
            name: [
                asdict(result)
                | {"floors": [asdict(one) | {"met": one.is_met} for one in result.floors]}
                for result in results
            ]
            for name, results in groups.items()
        },
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_readme(groups: Mapping[str, Sequence[Result]]) -> None:
    """Replace the results between the markers in README.md."""
    text = _README.read_text()
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    about = ", ".join(f"{name}: {value}" for name, value in facts().items())
    parts = [f"{about}."]
    parts += [f"### {name}\n\n{table(results)}" for name, results in groups.items()]
    _README.write_text(before + _BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + _END + after)
