"""Which engine a run has: libcurl, unless a session holds what libcurl cannot do."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from crawler.errors import UsageError
from crawler.profile import check_direct, profile_of
from crawler.settings import Settings

if TYPE_CHECKING:
    import requests


def with_engine(
    settings: Settings, session: requests.Session | None
) -> tuple[Settings, requests.Session | None]:
    """Choose the engine; give the settings that name it, and the session, if there is to be one.

    Without need requests is not imported; where it is, it may be mocked. Raises ``UsageError`` for
    an engine that cannot do what the session asks, ``SessionError`` as ``check_direct`` does.
    """
    if session is None and settings.engine != "requests" and sys.modules.get("requests") is None:
        check_direct(settings)
        profile_of(settings)  # what cannot be sent is told before anything has begun
        return replace(settings, engine="curl"), None
    from crawler.session import beyond_curl, build_session, connects_elsewhere, held_by

    if session is None:
        session = build_session(settings)
    if settings.block_private:
        check_direct(settings, held_by(session, settings), connects_elsewhere(session))
    reason = beyond_curl(session)
    if settings.engine == "auto":
        return replace(settings, engine="curl" if reason is None else "requests"), session
    if settings.engine == "curl" and reason is not None:
        raise UsageError(f"--engine curl cannot do what the session asks ({reason}): use requests")
    return settings, session
