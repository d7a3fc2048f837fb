"""What a job file may say beside the options of ``crawl run``: every key, its kind and its meaning.

One table for all that need it: the reader refuses what is not in it, ``--init`` writes it down with
comments, ``--schema`` gives it to editors. The options of the main job are added by the command
line, under their own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal["text", "texts", "flag", "count", "duration", "size", "choice", "table"]


class Key(NamedTuple):
    """One key: what it takes, what it means, and TOML that shows it."""

    name: str
    kind: Kind
    help: str
    example: str
    choices: tuple[str, ...] = ()


TOP: Final = ""
"""The section of the keys that stand before any ``[section]``."""

SECTIONS: Final[Mapping[str, tuple[Key, ...]]] = {
    TOP: (
        Key("name", "text", "What the job is called; the file's name unless told.", '"prices"'),
        Key(
            "schedule",
            "text",
            "When --loop pulls: five cron fields, minute hour day month weekday.",
            '"*/15 * * * *"',
        ),
        Key("every", "duration", "When --loop pulls: after so long, again and again.", '"15m"'),
        Key(
            "timezone",
            "text",
            "The time zone of schedule, {today} and {yesterday}.",
            '"Europe/Berlin"',
        ),
        Key("jitter", "duration", "Wait up to so long after each moment, drawn anew.", '"30s"'),
        Key(
            "catch-up",
            "flag",
            "Pull once when --loop starts, if a moment passed while nothing ran.",
            "true",
        ),
    ),
    "targets": (
        Key("list", "texts", "URLs to pull.", '["https://api.example.org/v1/prices"]'),
        Key(
            "start",
            "text",
            "What {last_success} is before there was one.",
            '"1970-01-01T00:00:00Z"',
        ),
    ),
    "store": (
        Key("dir", "text", "Folder of all that the job keeps; its name unless told.", '"prices"'),
        Key(
            "versions",
            "choice",
            "How versions are kept: files, or rows in a file a day.",
            '"files"',
            ("files", "jsonl", "parquet"),
        ),
        Key(
            "diff",
            "choice",
            "What a version's diff is: unified, json (RFC 6902) or none.",
            '"unified"',
            ("unified", "json", "none"),
        ),
        Key(
            "ignore",
            "texts",
            "Paths in JSON whose changes are no change.",
            '["$.generated_at", "$.items[*].age"]',
        ),
        Key(
            "full-every",
            "duration",
            "Ask without If-None-Match after so long, in case the server's ETags are wrong.",
            '"1d"',
        ),
        Key(
            "allow-empty",
            "flag",
            "Take a reply without a body for data, not for a failure.",
            "false",
        ),
        Key(
            "keep-versions",
            "count",
            "Newest versions of a target to keep, of files; 0 keeps all.",
            "0",
        ),
    ),
    "cursor": (
        Key(
            "from",
            "text",
            "What to remember of a reply, a JMESPath expression.",
            '"max(items[*].updated_at)"',
        ),
        Key("param", "text", "Query parameter that sends it; or write {cursor}.", '"since"'),
        Key(
            "start",
            "text",
            "What to send the first time; nothing unless told.",
            '"2026-01-01T00:00:00Z"',
        ),
    ),
    "log": (
        Key("max-log-size", "size", "Put the record log aside, gzipped, beyond this.", '"100MB"'),
        Key("max-log-age", "duration", "Put it aside when its first record is older.", '"30d"'),
        Key("keep-logs", "duration", "Delete logs put aside so long ago.", '"365d"'),
    ),
    "alerts": (
        Key("failures", "count", "Tell when a target failed so many times in a row.", "3"),
        Key(
            "fail-on",
            "text",
            "Limits that a pull must hold, as bench's; exit code 3 where one breaks.",
            '"p95<2s,errors<10%"',
        ),
        Key("slower", "flag", "Tell when a target's latency leaves its own baseline.", "true"),
        Key("unchanged-for", "duration", "Tell when a target did not change so long.", '"2d"'),
        Key("changes", "flag", "Tell when a target changed, with the diff.", "true"),
        Key("command", "texts", "Program to run, the alert as JSON on its stdin.", '["./alert"]'),
        Key(
            "webhook",
            "text",
            "URL to POST the alert to, as JSON.",
            '"https://hooks.example.org/${HOOK_TOKEN}"',
        ),
        Key(
            "smtp",
            "text",
            "Mail server, smtp:// (STARTTLS where offered) or smtps://.",
            '"smtp://pull:${SMTP_PASSWORD}@mail.example.org:587"',
        ),
        Key("from", "text", "Sender of mails.", '"crawl@example.org"'),
        Key("to", "texts", "Receivers of mails.", '["ops@example.org"]'),
    ),
    "metrics": (
        Key(
            "textfile",
            "text",
            "OpenMetrics file to write after each pull, for node_exporter.",
            '"/var/lib/node_exporter/prices.prom"',
        ),
        Key(
            "otlp",
            "text",
            "OTLP/HTTP endpoint to send metrics to after each pull.",
            '"http://127.0.0.1:4318/v1/metrics"',
        ),
    ),
}
"""The sections of a job file and their own keys, in the order in which ``--init`` writes them."""
