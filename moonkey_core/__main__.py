"""``python -m moonkey_core``: the command ``moonkey``."""

from moonkey_core.cli import run

if __name__ == "__main__":
    run()
