"""``python benchmarks/run.py [--only local,web] [--quick]``: run the sections, print tables, write the results.

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
from contextlib import suppress
from pathlib import Path

import report
from results import Section, load

HERE = Path(__file__).resolve().parent
WHOLE = 280.0  # seconds after which the last section comes to its end
SECTIONS = {  # name: most seconds it may take
    "local": 60,
    "web": 80,
    "remote": 60,
    "burst": 60,
    "keyset": 80,
    "fleet": 40,
    "growth": 190,  # last: it makes do with the time that is left
}
ON_DEMAND = {"fleet-scale": 360}  # only where it is named: it takes longer than all others together
ALL = {**SECTIONS, **ON_DEMAND}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections, of {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for a figure")
    parser.add_argument("--out", type=Path, help="folder for results.md and results.svg (default: this one)")
    parser.add_argument("--child", nargs=2, metavar=("SECTION", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.only = [name.strip() for name in given.only.split(",") if name.strip()]
    unknown = set(given.only) - set(ALL)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    return given


class Job:
    """A section in a process of its own. What goes wrong in it is a line of the results, not the end of all."""

    def __init__(self, name: str, quick: bool, folder: Path, until: float) -> None:
        self.name = name
        self._path, self._rest = folder / f"{name}.json", folder / f"{name}.rest"
        command = [sys.executable, str(HERE / "run.py"), "--child", name, str(self._path)]
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


def run_all(names: list[str], quick: bool, folder: Path) -> dict[str, Section]:
    """One section after another; where one only waits, the next begins."""
    found: dict[str, Section] = {}
    resting: list[Job] = []
    until = time.monotonic() + WHOLE
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


def main() -> None:
    """Run what was asked for."""
    given = arguments()
    if given.child:
        name, path = given.child
        importlib.import_module(name.replace("-", "_")).measure(given.quick).save(Path(path))
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        sections = run_all(given.only, given.quick, Path(folder))
    partial = given.quick or set(given.only) != set(SECTIONS)
    where = report.write(sections, given.out or HERE, time.monotonic() - start, partial=partial)
    print(f"Written: {', '.join(str(path) for path in where)}")


if __name__ == "__main__":
    main()
