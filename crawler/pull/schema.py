"""The state file's tables, as the migrations that make them, oldest first.

A file's ``user_version`` counts the migrations it has had. To change a table, append one; never
edit one that was released.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x6372776C
"""``crwl``: what tells our files from other SQLite files (https://sqlite.org/fileformat.html)."""

MIGRATIONS: Final = (
    """
    CREATE TABLE target (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        page INTEGER NOT NULL,
        slug TEXT NOT NULL UNIQUE,
        asked TEXT,
        etag TEXT,
        last_modified TEXT,
        trusted INTEGER NOT NULL DEFAULT 1,
        full_at REAL,
        kind TEXT,
        ending TEXT,
        digest TEXT,
        changed_at REAL,
        succeeded_at REAL,
        tried_at REAL,
        failing_since REAL,
        failures INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        detail TEXT,
        cursor TEXT,
        UNIQUE (key, page)
    );
    CREATE TABLE run (
        id TEXT PRIMARY KEY,
        started REAL NOT NULL,
        ended REAL NOT NULL,
        changed INTEGER NOT NULL,
        unchanged INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        error TEXT
    );
    CREATE TABLE outcome (
        target INTEGER NOT NULL REFERENCES target (id),
        at REAL NOT NULL,
        run TEXT NOT NULL,
        outcome TEXT NOT NULL,
        status INTEGER,
        error TEXT,
        detail TEXT,
        elapsed_ms REAL NOT NULL,
        PRIMARY KEY (target, run)
    );
    CREATE TABLE version (
        target INTEGER NOT NULL REFERENCES target (id),
        run TEXT NOT NULL,
        at REAL NOT NULL,
        digest TEXT NOT NULL,
        place TEXT NOT NULL,
        diff TEXT,
        bytes INTEGER NOT NULL,
        added INTEGER,
        removed INTEGER,
        PRIMARY KEY (target, run)
    );
    CREATE TABLE rows_file (
        place TEXT PRIMARY KEY,
        bytes INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE gone (
        place TEXT PRIMARY KEY
    ) WITHOUT ROWID;
    CREATE TABLE alert (
        rule TEXT NOT NULL,
        subject TEXT NOT NULL,
        since REAL NOT NULL,
        PRIMARY KEY (rule, subject)
    ) WITHOUT ROWID;
    CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        channel TEXT NOT NULL,
        body TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0
    );
    """,
    """
    ALTER TABLE target ADD COLUMN asked_with TEXT;
    CREATE TABLE waiting (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        channel TEXT NOT NULL,
        body TEXT NOT NULL
    );
    INSERT INTO waiting SELECT id, at, channel, body FROM message;
    DROP TABLE message;
    ALTER TABLE waiting RENAME TO message;
    """,
    """
    ALTER TABLE target ADD COLUMN cursor_of TEXT;
    ALTER TABLE target ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE run ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
    UPDATE target SET dropped = 1 WHERE page > 1 AND digest IS NULL;
    CREATE INDEX outcome_of ON outcome (target);
    CREATE INDEX version_of ON version (target);
    """,
    """
    ALTER TABLE version ADD COLUMN news INTEGER NOT NULL DEFAULT 0;
    """,
)
"""Outcomes and versions are newest by ``rowid``, the order they came in: a clock may be put back.
It stands behind the key in their indexes, so the newest of a target are found without sorting.

``news`` marks versions of which nobody was told yet that their target changed. ``gone`` names files
that are to be removed, so that a kill leaves none behind. ``alert`` holds what is firing,
``message`` what is still to be told, a row a channel.
"""
