"""``python -m run_uwsgi OPTIONS``: uWSGI from its wheel, which brings no module of its own to run."""

import importlib

if __name__ == "__main__":
    importlib.import_module("pyuwsgi").run()
