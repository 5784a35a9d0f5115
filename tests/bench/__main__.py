"""`python -m tests.bench`: measures chatml beside `claude --bg` and bare git, and says which bounds are reached."""

from __future__ import annotations

import argparse
import json
import sys

from tests.bench import figures, stages
from tests.bench.rig import bundled_cli, chatml_side


def main(argv: list[str] | None = None) -> int:
    """Print the table, or JSON; 1 where a bound was not reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, every sample included")
    parser.add_argument(
        "--only", nargs="+", choices=figures.NAMES, default=figures.NAMES, metavar="NAME", help=", ".join(figures.NAMES)
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each side is measured, in turn (default 3)")
    args = parser.parse_args(argv)
    if sys.platform != "linux":
        parser.error("memory and CPU are read from /proc: this runs on Linux only")
    with chatml_side(stages.AT_ONCE) as side:
        version = side.run([str(bundled_cli()), "--version"])[1].split()[0]
        about = figures.machine(side.sandbox, version)
    samples = stages.measure(args.only, max(1, args.runs), lambda text: print(text, file=sys.stderr, flush=True))
    if args.as_json:
        print(json.dumps(figures.as_json(args.only, samples, about), indent=2))
    else:
        print(figures.as_text(args.only, samples, about))
    rows = [figures.row(figure, samples) for figure in figures.FIGURES if figure.name in args.only]
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
