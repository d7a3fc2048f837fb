"""What the figures were measured on: the machine and the versions of all that took part."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

PYTHON_PACKAGES = ("crawl-bench", "pycurl", "requests", "urllib3", "aiohttp", "orjson", "pandas")
DEBIAN_PACKAGES = {"hey": "hey", "wrk": "wrk", "ab": "apache2-utils", "curl": "curl"}


def machine() -> dict[str, str | int]:
    """Processor, usable cores, memory, kernel and distribution."""
    return {
        "processor": _first_value("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def versions() -> dict[str, str]:
    """Versions of Python, of its packages, and of the rivals from the distribution."""
    found = {"python": platform.python_version()}
    found |= {name: _python_version(name) for name in PYTHON_PACKAGES}
    found |= {name: _debian_version(package) for name, package in DEBIAN_PACKAGES.items()}
    return found


def _first_value(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return "unknown"


def _python_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _debian_version(package: str) -> str:
    if shutil.which("dpkg-query") is None:
        return "unknown"
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout or "absent"
