"""Finds what is wrong with a set-up: the checks of ``moonkey doctor``, and the check inside of a worker."""

from __future__ import annotations

from moonkey_core._doctor.apps import not_set_up as not_set_up
from moonkey_core._doctor.examination import examine as examine
from moonkey_core._doctor.lines import Line, Report, Verdict
from moonkey_core._doctor.lines import ok as ok
from moonkey_core._doctor.lines import unseen as unseen
from moonkey_core._doctor.lines import wrong as wrong
from moonkey_core._doctor.subject import Asked as Asked
from moonkey_core._doctor.worker import Server, worker_report

__all__ = ["Line", "Report", "Server", "Verdict", "worker_report"]
