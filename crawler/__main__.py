"""`crawl` and `python -m crawler`: one door. It imports nothing: spawned workers pass by it too."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on ``sys.argv``; return the exit code."""
    from crawler.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
