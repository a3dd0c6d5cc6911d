"""all: every benchmark in one run; the table in README.md is written from it."""

from benchmarks import (
    authorization,
    large,
    latency,
    listing,
    memory,
    report,
    scaling,
    small,
    start,
    tenants,
)
from benchmarks.bench import Measure, parse, prepared
from benchmarks.report import Result

QUESTIONS: dict[str, Measure] = {
    "Small objects, 32 connections, one worker": small.measure,
    "One client alone": latency.measure,
    "Listing": listing.measure,
    "Large objects, one worker": large.measure,
    "Two workers": scaling.measure,
    "Memory of a worker": memory.measure,
    "Start": start.measure,
    "Authentication and authorisation": authorization.measure,
    "Many tenants": tenants.measure,
}


def main() -> None:
    """Measure everything, print it, and write it into README.md."""
    arguments = parse("all: every benchmark; writes the table in benchmarks/README.md")
    groups: dict[str, list[Result]] = {}
    with prepared(arguments) as bench:
        for name, measure in QUESTIONS.items():
            groups[name] = list(measure(bench))
            print(f"\n{name}\n\n{report.table(groups[name])}", flush=True)
    report.write_readme(groups)
    if arguments.json is not None:
        report.write_json(arguments.json, groups)


if __name__ == "__main__":
    main()
