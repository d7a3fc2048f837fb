"""Ready units that pull jobs by their schedules: for systemd, cron and Kubernetes.

Each is printed whole, comments say how to install it, and what only its reader knows (an image, a
claim's size) is marked. Paths are absolute.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from crawler.errors import UsageError
from crawler.pull.job import PullJob

UnitForm = Literal["systemd", "cron", "k8s"]

_DNS_UNFIT: Final = re.compile(r"[^a-z0-9-]+")
_VARIABLE: Final = re.compile(r"(?<!\$)\$\{(?!file:)([^{}]+)\}")
_ODD: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_MAP_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_DNS_LONGEST: Final = 52
"""Of a CronJob: its jobs' names get eleven characters more (63 in all)."""


def unit_of(form: UnitForm, jobs: Sequence[PullJob], command: str) -> str:
    """Give the unit of some jobs; ``command`` is the absolute path of the program.

    Raises ``UsageError`` for a job without a schedule, or one that the form cannot tell.
    """
    for job in jobs:
        if job.timing.schedule is None and job.timing.every_s is None:
            raise UsageError(
                f'{job.path}: no schedule: give schedule = "*/15 * * * *" or every = "15m"'
            )
    return _FORMS[form](jobs, command)


def _systemd(jobs: Sequence[PullJob], command: str) -> str:
    """One service that loops: the jobs' own schedules hold, and systemd restarts it."""
    name = jobs[0].name if len(jobs) == 1 else "crawl-pull"
    words = ["pull", "--loop", *(str(job.path) for job in jobs)]
    # Each may be missing; no variables are filled in here.
    folders = " ".join(_quoted("-" + _systemd_path(str(job.store.folder))) for job in jobs)
    makes = " ".join(_systemd_word(str(job.store.folder)) for job in jobs)
    return f"""\
# {name}.service: save it as /etc/systemd/system/{name}.service, then
#   systemctl daemon-reload && systemctl enable --now {name}
# systemctl reload reads the jobs anew; journalctl -u {name} shows what they say.
[Unit]
Description=crawl pull: {_one_line(", ".join(job.name for job in jobs))}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
# The folders must be there before the service may write in them.
ExecStartPre=+/bin/mkdir -p {makes}
ExecStart={_quoted(_systemd_path(command))} {" ".join(map(_systemd_word, words))}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={_systemd_path(str(jobs[0].path.parent))}
# Secrets that jobs name as ${{NAME}}: a line NAME=value each.
EnvironmentFile=-/etc/crawl/{name}.env
# A bad job file (2) is not mended by a restart.
Restart=always
RestartPreventExitStatus=2
RestartSec=10
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec=60
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ReadWritePaths={folders}

[Install]
WantedBy=multi-user.target
"""


def _systemd_word(text: str) -> str:
    """Quote a word of a command line (systemd.service(5), COMMAND LINES); not its first one."""
    return _quoted(_systemd_path(text).replace("$", "$$"))


def _quoted(escaped: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]+", escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _systemd_path(text: str) -> str:
    return text.replace("%", "%%")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%%")


def _cron(jobs: Sequence[PullJob], command: str) -> str:
    """A line a job, for crontab -e or a file that crontab reads."""
    lines = [
        "# crontab -e, and add these lines. Cron mails what a pull says: only what is wrong.",
    ]
    before = None
    for job in jobs:
        lines += _notes(job)
        zone = str(job.timing.zone)
        if job.timing.schedule is not None and zone != before:  # it holds for all lines below
            lines.append(
                f"# {job.name} is meant in {zone}; Debian's cron heeds the machine's zone alone."
            )
            lines.append(f"CRON_TZ={zone}")
            before = zone
        words = " ".join(map(shlex.quote, [command, "pull", "--quiet", "--skip-if-running"]))
        path = shlex.quote(str(job.path))
        lines.append(f"{_five_fields(job)} {words} {path}".replace("%", "\\%"))
    return "\n".join(lines) + "\n"


def _notes(job: PullJob) -> Iterator[str]:
    """Say what of a job cron cannot know by itself."""
    names = sorted(set(_VARIABLE.findall(_text_of(job.path))))
    if names:
        yield f"# {job.name} needs {', '.join(names)}: cron knows what lines NAME=value here say."
    if job.timing.jitter_s:
        yield f"# {job.name}: cron knows no jitter."


def _five_fields(job: PullJob) -> str:
    """Give a job's schedule as cron has it; a period must divide an hour or a day."""
    if job.timing.schedule is not None:
        fields = job.timing.schedule.split()
        if re.search(r"(?i)l|#", fields[2] + fields[4]):
            raise UsageError(
                f"{job.path}: schedule {job.timing.schedule!r}: L and # are known to --loop and "
                "--unit systemd alone"
            )
        return " ".join(map(_stepped, fields, _GREATEST))
    minutes, rest = divmod(job.timing.every_s or 0.0, 60)
    if not rest and minutes and 60 % minutes == 0:
        return "* * * * *" if minutes == 1 else f"*/{minutes:.0f} * * * *".replace("*/60", "0")
    hours, rest = divmod(minutes, 60)
    if not rest and hours and 24 % hours == 0:
        return f"0 */{hours:.0f} * * *".replace("*/24", "0")
    raise UsageError(
        f"{job.path}: cron cannot tell every {job.timing.every_s:g} s: give a schedule, or a "
        "period that divides an hour or a day; --unit systemd takes any"
    )


_GREATEST: Final = (59, 23, 31, 12, 7)


def _stepped(field: str, greatest: int) -> str:
    """Write ``5/20`` as cron has it: ``5-59/20``."""
    return re.sub(r"(?<![\d-])(\d+)/", rf"\1-{greatest}/", field)


def _k8s(jobs: Sequence[PullJob], command: str) -> str:
    """A ConfigMap, a claim and a CronJob a job."""
    seen: dict[str, PullJob] = {}
    for job in jobs:
        other = seen.setdefault(_dns_name(job.name), job)
        if other is not job:
            raise UsageError(
                f"{other.path} and {job.path}: Kubernetes would take both for "
                f"{_dns_name(job.name)}; give one another name"
            )
    return "---\n".join(_k8s_job(job) for job in jobs)


def _k8s_job(job: PullJob) -> str:
    name, quoted = _dns_name(job.name), json.dumps
    zone = "Etc/UTC" if str(job.timing.zone) == "UTC" else str(job.timing.zone)
    file = job.path.name
    if job.store.folder.parent != job.path.parent:
        raise UsageError(f"{job.path}: --unit k8s wants [store] dir to be a name, beside the job")
    if not _MAP_KEY.fullmatch(file):
        raise UsageError(f"{job.path}: --unit k8s wants a file name of letters, digits and -_.")
    return _K8S.format(
        name=name,
        file=quoted(file),
        path=quoted(f"/data/{file}"),
        text=_yaml(_text_of(job.path)),
        schedule=quoted(_with_sunday_as_0(_five_fields(job))),
        zone=quoted(zone),
    )


_K8S: Final = """\
# kubectl apply -f: first name your image (one with crawl in it) and how large the claim is to be.
# Secrets that the job names as ${{NAME}} are those of a Secret called {name}.
# Other files that it names (a list, file: secrets) are to be put into /data.
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  {file}: {text}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}
spec:
  accessModes: ["ReadWriteOnce"]
  resources:
    requests:
      storage: 1Gi
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
spec:
  schedule: {schedule}
  timeZone: {zone}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 300
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 60
          containers:
            - name: pull
              image: REPLACE-ME/crawl:latest
              command: ["crawl", "pull", "--skip-if-running", {path}]
              envFrom:
                - secretRef:
                    name: {name}
                    optional: true
              volumeMounts:
                - name: data
                  mountPath: /data
                - name: job
                  mountPath: {path}
                  subPath: {file}
                  readOnly: true
          volumes:
            - name: data
              persistentVolumeClaim:
                claimName: {name}
            - name: job
              configMap:
                name: {name}
"""


def _yaml(text: str) -> str:
    """Give a text as a value of YAML: line by line, unless it holds what YAML takes for a break."""
    if not _ODD.search(text) and text.endswith("\n"):
        lines = text.removesuffix("\n").split("\n")
        return "|2+\n" + "\n".join(f"    {line}" for line in lines)
    quoted = json.dumps(text, ensure_ascii=False)
    return _ODD.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _with_sunday_as_0(schedule: str) -> str:
    """Write Sunday as Kubernetes has it: it knows no 7."""
    *fields, weekdays = schedule.split()
    return " ".join((*fields, ",".join(map(_days, weekdays.split(",")))))


def _days(item: str) -> str:
    """Write the days of an item out, where a seventh is meant."""
    match = re.fullmatch(r"(\d)(?:-(\d))?(?:/(\d+))?", item)
    if match is None or "7" not in item.partition("/")[0]:
        return item
    days = range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    return ",".join(str(day % 7) for day in days)


def _dns_name(name: str) -> str:
    """Make a name that Kubernetes takes (RFC 1123)."""
    plain = _DNS_UNFIT.sub("-", name.lower()).strip("-")[:_DNS_LONGEST].strip("-")
    return plain or "crawl-pull"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: cannot read the job file: {exc}") from None


_FORMS: Final[Mapping[UnitForm, Callable[[Sequence[PullJob], str], str]]] = {
    "systemd": _systemd,
    "cron": _cron,
    "k8s": _k8s,
}
