"""`crawl` and `python -m crawler`: one door.

It imports nothing of ours: spawned workers pass by it too.
"""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line on ``sys.argv``; return the exit code."""
    if any(word.partition("=")[0] in ("--loop", "--every") for word in sys.argv):
        # SIGHUP has a loop read its jobs anew: it is about to read them for the first time.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from crawler.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
