"""``python benchmarks/run.py [--only local,web] [--quick] [--runs 3]``: run the sections, write the results.

Each section runs in a process of its own, so that none inherits another's heap, threads or trouble, and is ended
when it takes too long.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import machine
import report
from results import Section, load

HERE = Path(__file__).resolve().parent
WHOLE = 1_300.0  # seconds after which the last section comes to its end
SECTIONS = {  # name: most seconds it may take; three times what an idle machine needs
    "local": 240,
    "web": 300,
    "servers": 240,
    "imports": 400,
    "remote": 400,
    "burst": 600,
    "keyset": 160,
    "kit": 120,
    "fleet": 60,
    "growth": 900,  # last: it makes do with the time that is left
}
ONCE = {"growth"}  # sections that only the first of several runs has: what they count does not vary
IN_OTHER_BUILD = ("local", "web")  # sections that another build of Python measures too
OTHER = HERE.parent / ".venv-bench-other" / "bin" / "python"
ON_DEMAND = {"fleet-scale": 360, "lag-table": 600}  # only where they are named: they take long
ALL = {**SECTIONS, **ON_DEMAND}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections, of {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for a figure")
    parser.add_argument("--runs", type=int, default=1, help="how often all is run: medians and spread are shown")
    parser.add_argument("--out", type=Path, help="folder for the record and the results (default: this one)")
    parser.add_argument(
        "--again", action="store_true", help="make results.md again of results.json, and measure nothing"
    )
    parser.add_argument("--child", nargs=2, metavar=("SECTION", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.only = [name.strip() for name in given.only.split(",") if name.strip()]
    unknown = set(given.only) - set(ALL)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    return given


class Job:
    """A section in a process of its own. What goes wrong in it is a line of the results, not the end of all."""

    def __init__(self, name: str, quick: bool, folder: Path, until: float, python: str = sys.executable) -> None:
        self.name = name
        self._path, self._rest = folder / f"{name}.json", folder / f"{name}.rest"
        command = [python, str(HERE / "run.py"), "--child", name, str(self._path)]
        environment = {**clean_environment(), "BENCH_REST": str(self._rest), "BENCH_UNTIL": str(until)}
        self._start = time.monotonic()
        self._process = subprocess.Popen(
            [*command, *(["--quick"] if quick else [])], start_new_session=True, env=environment
        )

    def wait(self, *, to_end: bool) -> bool:
        """Wait until it has ended, or, unless ``to_end``, only waits itself. Whether it has ended."""
        while self._process.poll() is None and self.seconds < ALL[self.name]:
            if self._rest.exists() and not to_end:
                return False
            time.sleep(0.05)
        return True

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def result(self) -> Section:
        """What it found, and the end of all its processes."""
        code = self._process.poll()
        end_group(self._process)
        if code == 0 and self._path.is_file():
            return load(self._path)
        trouble = f"took longer than {ALL[self.name]} s" if code is None else f"ended with status {code}"
        return Section(self.name, failed=[f"the section {trouble}: not measured"])


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a section and whatever it has left running: it leads a process group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def clean_environment() -> dict[str, str]:
    """The environment without settings of this package's: only defaults are measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MOONKEY_")}


def run_all(names: list[str], quick: bool, folder: Path, until: float) -> dict[str, Section]:
    """One section after another; where one only waits, the next begins."""
    found: dict[str, Section] = {}
    resting: list[Job] = []
    try:
        for name in names:
            job = Job(name, quick, folder, until)
            resting.append(job)
            if job.wait(to_end=False):
                resting.remove(job)
                found[name] = finished(job)
        for job in list(resting):
            job.wait(to_end=True)
            resting.remove(job)
            found[job.name] = finished(job)
    finally:
        for job in resting:
            job.result()
    return {name: found[name] for name in names}


def finished(job: Job) -> Section:
    """Print what a section found."""
    seconds, section = job.seconds, job.result()
    report.show(section, seconds)
    return section


def other_build(names: list[str], folder: Path) -> dict[str, Any] | None:
    """The figures of some sections in another build of Python, where its environment is there."""
    if not OTHER.exists():
        return None
    asked = subprocess.run(
        [str(OTHER), "-c", "import machine; print(machine.build())"], cwd=HERE, capture_output=True, text=True
    )
    folder.mkdir()
    figures: dict[str, float] = {}
    for name in names:
        if name in IN_OTHER_BUILD:
            job = Job(name, False, folder, time.monotonic() + ALL[name], str(OTHER))
            job.wait(to_end=True)
            figures.update({one.id: one.value for one in job.result().figures})
    return {"build": asked.stdout.strip(), "figures": figures} if figures else None


def main() -> None:
    """Run what was asked for."""
    given = arguments()
    if given.child:
        name, path = given.child
        importlib.import_module(name.replace("-", "_")).measure(given.quick).save(Path(path))
        return
    out: Path = given.out or HERE
    if given.again:
        print(f"Written: {', '.join(str(path) for path in report.write_results(out / 'results.json'))}")
        return
    start, load = time.monotonic(), machine.load()
    found = report.median_of([one_run(given, first=number == 0) for number in range(given.runs)])
    found["about"] = machine.describe(load, time.monotonic() - start)
    where = report.write(found, out)
    print(f"Written: {', '.join(str(path) for path in where)}")


def one_run(given: argparse.Namespace, *, first: bool) -> dict[str, Any]:
    """All that was asked for, once."""
    until = time.monotonic() + WHOLE
    partial = given.quick or not set(given.only) >= set(SECTIONS)
    names = [name for name in given.only if first or name not in ONCE]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as beside:
        others: Future[dict[str, Any] | None] = Future()
        last = [name for name in names if name == "growth"]
        sections = run_all([name for name in names if name not in last], given.quick, Path(folder), until)
        if first and not partial:  # beside the section that only compares at the same moment
            others = beside.submit(other_build, given.only, Path(folder, "other"))
        sections.update(run_all(last, given.quick, Path(folder), until))
        other = others.result() if first and not partial else None
    return report.record(sections, other, partial=partial)


if __name__ == "__main__":
    main()
