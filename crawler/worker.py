"""The child side: a worker process fetches the targets of its batches, many at once.

``initialize`` injects what cannot travel with a task: the log's lock and the HTTP session.
``fetch_batch`` is the pool's function, a ``functools.partial`` of it the run's target. What it does
with a batch is the station's business.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from crawler.batches import BatchResult, Order
from crawler.fetch import Plan
from crawler.log import SharedLog
from crawler.pool_worker import Desk
from crawler.profile import Profile, profile_of
from crawler.record import Target
from crawler.settings import Settings
from crawler.station import Station, Tools

if TYPE_CHECKING:
    import requests

    from crawler.engines.base import Engine, Start


class _Injected(threading.local):
    """What ``initialize`` left for this worker: a process, or a thread of the parent."""

    log: SharedLog | None
    session: requests.Session | None
    settings: Settings
    engine: Engine
    start: Start | None
    profile: Profile
    station: Station | None


_injected = _Injected()


def initialize(
    lock: SharedLog | None, session: requests.Session | None, settings: Settings
) -> None:
    """Inject the log's lock and the HTTP session into this worker: the pool's ``initializer``.

    Without a session libcurl does what the settings say.
    """
    _injected.log = lock
    _injected.session = session
    _injected.settings = settings
    _injected.profile = _profile(session, settings)
    _injected.station = None


def _profile(session: requests.Session | None, settings: Settings) -> Profile:
    if session is None:
        return profile_of(settings)
    from crawler.session import profile

    return profile(session, settings)


def new_event_loop(share: int) -> asyncio.AbstractEventLoop:
    """Make the engine, for ``share`` connections, and the loop that it works in."""
    settings = _injected.settings
    if settings.engine == "requests":
        from crawler.engines.requests import RequestsEngine

        assert _injected.session is not None, "the requests engine is one for a session"
        _injected.engine = RequestsEngine(_injected.session, settings, threads=share)
        _injected.start = None
        return asyncio.SelectorEventLoop()
    from crawler.engines.curl import CurlEngine

    engine = CurlEngine(_injected.profile, settings, connections=share)
    _injected.engine, _injected.start = engine, engine.start
    return engine.new_event_loop()


async def fetch_batch(order: Order, targets: list[Target], desk: Desk) -> BatchResult:
    """Fetch every target of a batch; give what was finished when the run is stopped first."""
    station = _injected.station
    if station is None:
        station = _injected.station = _new_station(order, desk)
    batch = station.add(targets)
    try:
        await batch.done
    except asyncio.CancelledError:
        station.close(batch)
    return batch.result()


def _new_station(order: Order, desk: Desk) -> Station:
    log = None if _injected.log is None else _injected.log.open()
    tools = Tools(_plan(order.run), _injected.start, log)
    if _injected.settings.polite is None:
        return Station(order, desk, tools)
    from crawler.polite_station import PoliteStation

    return PoliteStation(order, desk, tools)


def _plan(run: str) -> Plan:
    common = _injected.profile
    return Plan(run, _injected.engine, common, _injected.settings, _cookies_for(common))


def _cookies_for(common: Profile) -> Callable[[str], str | None] | None:
    if not common.scoped_cookies:
        return None
    from crawler.session import cookie_header

    assert _injected.session is not None, "only a session has cookies for certain URLs"
    return partial(cookie_header, _injected.session)
