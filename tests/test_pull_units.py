"""Units for systemd, cron and Kubernetes, held by those programs' own tools."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from crawler.cli import main
from crawler.cli.job_options import known_keys
from crawler.errors import UsageError
from crawler.pull.job import PullJob, job_of
from crawler.pull.job_file import parse_job
from crawler.pull.units import unit_of

TARGETS: Final = '[targets]\nlist = ["http://127.0.0.1:1/"]\n'


def _job(folder: Path, timing: str, name: str = "prices") -> PullJob:
    path = folder / f"{name}.toml"
    path.write_text(f"{timing}\n{TARGETS}")
    return job_of(parse_job(path, path.read_bytes(), known_keys()))


def _program(folder: Path) -> str:
    """A program that is there, at a place that has to be quoted."""
    place = folder / "a place with % and $x"
    place.mkdir(exist_ok=True)
    program = place / "crawl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _checked(command: list[str], **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, timeout=30, **options
    )
    assert done.returncode == 0, done.stderr
    return f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("count", [1, 2])
def test_systemd_takes_its_unit(tmp_path: Path, count: int) -> None:
    """systemd-analyze verify says nothing of it, with one job and with several."""
    analyze = _tool("systemd-analyze")
    jobs = [_job(tmp_path, 'every = "7m"', f"job {n}".replace(" ", "-")) for n in range(count)]
    text = unit_of("systemd", jobs, _program(tmp_path))
    unit = tmp_path / "crawl-pull-test.service"
    unit.write_text(text)
    said = _checked([analyze, "verify", str(unit)])
    assert "crawl-pull-test" not in said, said
    assert "%%" in text
    assert all(str(job.path) in text and str(job.store.folder) in text for job in jobs)


@pytest.mark.parametrize(
    "timing",
    [
        'schedule = "*/15 * * * *"',
        'schedule = "30 2 * * 1-5"\ntimezone = "Europe/Berlin"',
        *(f'every = "{each}"' for each in ("1m", "15m", "60m", "6h", "24h")),
    ],
)
def test_cron_takes_its_lines(tmp_path: Path, timing: str) -> None:
    """crontab's own check finds nothing wrong; % is escaped, which cron would read as a newline."""
    crontab = _tool("crontab")
    text = unit_of("cron", [_job(tmp_path, timing)], _program(tmp_path))
    file = tmp_path / "crontab"
    file.write_text(text)
    usage = subprocess.run([crontab, "-h"], capture_output=True, text=True).stderr
    _checked([crontab, "-T" if "-T" in usage else "-n", str(file)])
    assert " with \\% and" in text
    assert "pull --quiet --skip-if-running" in text
    assert ("CRON_TZ=Europe/Berlin" in text) == ("Berlin" in timing)


@pytest.mark.parametrize("every", ["45s", "7m", "5h", "36h", "90m"])
def test_what_cron_cannot_tell_is_refused(tmp_path: Path, every: str) -> None:
    """A period that divides neither an hour nor a day; the remedy is said."""
    with pytest.raises(UsageError, match="cron cannot tell every"):
        unit_of("cron", [_job(tmp_path, f'every = "{every}"')], "/usr/bin/crawl")


def test_kubernetes_takes_its_documents(tmp_path: Path) -> None:
    """Three documents that fit together: the job's text, its data, a CronJob without overlap."""
    job = _job(tmp_path, 'schedule = "*/15 * * * *"\ntimezone = "Europe/Berlin"', "Prices_of.x")
    text = unit_of("k8s", [job], "/usr/bin/crawl")
    config, claim, cron = yaml.safe_load_all(text)
    assert config["data"] == {"Prices_of.x.toml": job.path.read_text()}
    names = {each["metadata"]["name"] for each in (config, claim, cron)}
    assert names == {"prices-of-x"}
    spec = cron["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("*/15 * * * *", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"][-1] == "/data/Prices_of.x.toml"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    kubectl = shutil.which("kubectl")
    if kubectl is not None:  # without a cluster: it reads the documents and writes them again
        local = [kubectl, "annotate", "--local", "-f", "-", "a=b", "-o", "name"]
        said = _checked(local, input=text)
        assert "cronjob.batch/prices-of-x" in said


def test_several_jobs_are_several_documents(tmp_path: Path) -> None:
    """Each with a name of its own."""
    jobs = [_job(tmp_path, 'every = "1h"', name) for name in ("a", "b")]
    documents = list(yaml.safe_load_all(unit_of("k8s", jobs, "crawl")))
    assert [each["kind"] for each in documents] == 2 * [
        "ConfigMap", "PersistentVolumeClaim", "CronJob",
    ]  # fmt: skip


def test_jobs_that_kubernetes_would_take_for_one_are_refused(tmp_path: Path) -> None:
    """Of two of one name only the last would be pulled."""
    jobs = [_job(tmp_path, 'every = "1h"', name) for name in ("a_b", "A.b")]
    with pytest.raises(UsageError, match=r"a_b.toml and .*A.b.toml: Kubernetes would take both"):
        unit_of("k8s", jobs, "crawl")
    with pytest.raises(UsageError, match="file name of letters"):
        unit_of("k8s", [replace(jobs[0], path=tmp_path / "sp ace.toml")], "crawl")


@pytest.mark.parametrize("odd", ["", "\u2028", "\x85", "\t\U0001f600", "\n\n"])
@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_a_job_s_text_is_whole_in_kubernetes(tmp_path: Path, odd: str, end: str) -> None:
    """However its first line is indented, whatever its comments hold, and however it ends."""
    text = f'  # indented {odd}# comment\n\n\nevery = "1h"\n\n{TARGETS.rstrip()}{end}'
    path = tmp_path / "job.toml"
    path.write_text(text)
    job = job_of(parse_job(path, text.encode(), known_keys()))
    config, *_ = yaml.safe_load_all(unit_of("k8s", [job], "crawl"))
    assert config["data"] == {"job.toml": text}


@pytest.mark.parametrize(
    ("weekday", "told"),
    [
        ("7", "0"), ("5-7", "5,6,0"), ("1,7", "1,0"), ("1-7/2", "1,3,5,0"), ("5/2", "5,0"),
        ("3-7/3", "3,6"), ("1/3", "1,4,0"),
        ("1-5/2", "1-5/2"), ("1-5", "1-5"), ("MON", "MON"), ("*", "*"),
    ],
)  # fmt: skip
def test_sunday_is_0_in_kubernetes(tmp_path: Path, weekday: str, told: str) -> None:
    """The library of its schedules refuses a 7."""
    job = _job(tmp_path, f'schedule = "17 7 7 7 {weekday}"')
    _, _, cron = yaml.safe_load_all(unit_of("k8s", [job], "crawl"))
    assert cron["spec"]["schedule"] == f"17 7 7 7 {told}"


@pytest.mark.parametrize("form", ["cron", "k8s"])
@pytest.mark.parametrize("schedule", ["0 0 L * *", "0 0 * * FRI#2", "0 0 * * 5L"])
def test_what_only_our_schedules_know_is_refused(tmp_path: Path, form: Any, schedule: str) -> None:
    """The last day, the second Friday."""
    with pytest.raises(UsageError, match="L and # are known to --loop"):
        unit_of(form, [_job(tmp_path, f'schedule = "{schedule}"')], "crawl")


def test_each_line_of_cron_has_its_zone(tmp_path: Path) -> None:
    """CRON_TZ holds for all that follows, UTC is a zone like any other."""
    berlin = 'timezone = "Europe/Berlin"'
    jobs = [
        _job(tmp_path, f'schedule = "0 {n} * * *"\n{zone}', f"job{n}")
        for n, zone in enumerate(("", berlin, berlin, ""))
    ]
    lines = unit_of("cron", jobs, "crawl").splitlines()
    told = [line.split()[1] if "pull" in line else line for line in lines if line[:1] != "#"]
    assert told == ["CRON_TZ=UTC", "0", "CRON_TZ=Europe/Berlin", "1", "2", "CRON_TZ=UTC", "3"]


def test_a_job_without_a_schedule_has_no_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says what to add; with one it prints the unit alone."""
    job = _job(tmp_path, "")
    assert main(["pull", "--unit", "cron", str(job.path)]) == 2
    assert "no schedule" in capsys.readouterr().err
    _job(tmp_path, 'every = "1h"')
    assert main(["pull", "--unit", "cron", str(job.path)]) == 0
    twin = _job(tmp_path, 'name = "prices"\nevery = "1h"', "other")
    assert main(["pull", "--unit", "cron", str(job.path), str(twin.path)]) == 2
    assert "0 * * * *" in capsys.readouterr().out
