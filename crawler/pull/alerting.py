"""What is told of a pull, and when: once as something begins to be wrong, once as it is well again.

What is firing stands in the state, and so does what is still to be told: it is written in the
transaction that changes the one, and taken out once it was told. So an alert that could not be sent
is sent by the next pull, and a kill between loses none (it may tell one twice). What still fires is
told however late; what is over is not news for ever.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from crawler.pull.baseline import BASELINE, RECENT, worst_drift
from crawler.pull.channels import ChannelError, channels_of, send
from crawler.pull.committing import Committed
from crawler.pull.job import PullJob
from crawler.pull.news import changes, iso, subject_of
from crawler.pull.state import Message, State, TargetState

OLD_S: Final = 7 * 86_400.0
"""Age beyond which an alert that could not be told is given up, unless it says what still is."""
MOST_WAITING: Final = 1000
"""Alerts that wait for a channel; of more, the oldest that say what is over are given up."""
TELLING_S: Final = 60.0
"""How long a pull tells alerts, one after another, while its job is locked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found of one subject.

    ``firing`` is None where it is neither wrong nor well again: what was told stands.
    """

    rule: str
    subject: str
    firing: bool | None
    message: str


def findings(job: PullJob, state: State, committed: Committed) -> Iterator[Finding]:
    """Yield what the other rules of a job find after a pull."""
    yield Finding("pull", job.name, firing=False, message="it is pulled again")
    plan = job.alerts
    for target in committed.targets:
        subject = subject_of(target)
        if plan.failures:
            yield _failing(target, subject, plan.failures)
        if plan.slower:
            yield _slower(state, target, subject)
        if plan.unchanged_for_s is not None:
            yield _unchanged(target, subject, plan.unchanged_for_s)


def _failing(target: TargetState, subject: str, limit: int) -> Finding:
    if not target.failures:
        return Finding("failures", subject, False, f"{subject} answers again")
    firing = True if target.failures >= limit else None
    return Finding("failures", subject, firing, failure_of(target))


def failure_of(target: TargetState) -> str:
    """Say how often in a row a target failed, and why it did the last time."""
    why = f"{target.error}: {target.detail}" if target.detail else str(target.error)
    times = "once" if target.failures == 1 else f"{target.failures} times in a row"
    return f"{subject_of(target)} failed {times}: {why}"


def _slower(state: State, target: TargetState, subject: str) -> Finding:
    found = worst_drift(state.latencies_ms(target.id, BASELINE + RECENT))
    if found is None or target.failures:
        return Finding("slower", subject, None, "")
    now = f"{found.recent_ms:.1f} ms (median of the last {RECENT})"
    if found.left:
        words = f"{subject} is slower than usual: {now}, not {found.baseline_ms:.1f} ms"
        return Finding("slower", subject, True, words)
    words = f"{subject} is as fast as usual again: {now}"
    return Finding("slower", subject, False if found.back else None, words)


def _unchanged(target: TargetState, subject: str, limit_s: float) -> Finding:
    if target.succeeded_at is None or target.changed_at is None:
        return Finding("unchanged-for", subject, None, "")
    still_s = target.succeeded_at - target.changed_at
    if still_s <= limit_s:
        return Finding("unchanged-for", subject, False, f"{subject} changes again")
    since = iso(target.changed_at)
    return Finding("unchanged-for", subject, True, f"{subject} has not changed since {since}")


def note(
    job: PullJob, state: State, found: Sequence[Finding], run: str, at_s: float, *, made: bool
) -> None:
    """Note what begins and what ends, and what is to be told of it.

    With ``made`` the pull was: what fires for a target, or by a rule, that is the job's no more is
    over.
    """
    with state.writing():
        firing = {(rule, subject): since for rule, subject, since in _firing(state)}
        over = _gone(job, state, firing.keys(), found) if made else ()
        for each in (*found, *over):
            since = firing.get((each.rule, each.subject))
            if each.firing and since is None:
                _tell(job, state, each, run, at_s, at_s)
                state.change("INSERT INTO alert VALUES (?, ?, ?)", each.rule, each.subject, at_s)
                firing[each.rule, each.subject] = at_s
            elif each.firing is False and since is not None:
                _tell(job, state, each, run, at_s, since)
                _end(state, each.rule, each.subject)
                del firing[each.rule, each.subject]
        for news in changes(job, state):
            _put(job, state, news, at_s)


def _gone(
    job: PullJob, state: State, firing: Iterable[tuple[str, str]], found: Sequence[Finding]
) -> Iterator[Finding]:
    """Find that what fires is over where the job has the target, the limit or the rule no more."""
    known = {(each.rule, each.subject) for each in found}
    dropped = state.dropped()
    there = {subject_of(each) for each in state.targets() if each.id not in dropped}
    for rule, subject in sorted(set(firing) - known):
        # A target that is there, and nothing was found of: a page that was not come to, say.
        if rule not in job.alerts.rules or subject not in there:
            yield Finding(rule, subject, False, f"{rule} of {subject} is watched no more")


def _firing(state: State) -> list[tuple[Any, ...]]:
    return state.rows("SELECT rule, subject, since FROM alert")


def _end(state: State, rule: str, subject: str) -> None:
    state.change("DELETE FROM alert WHERE rule = ? AND subject = ?", rule, subject)


def _tell(
    job: PullJob, state: State, found: Finding, run: str, at_s: float, since_s: float
) -> None:
    """Put what is to be told where it is kept until it was told: a row a channel."""
    _put(job, state, {
        "job": job.name,
        "rule": found.rule,
        "subject": found.subject,
        "state": "firing" if found.firing else "recovered",
        "since": iso(since_s),
        "at": iso(at_s),
        "message": f"{job.name}: {found.message}",
        "run": run,
    }, at_s)  # fmt: skip


def _put(job: PullJob, state: State, body: Mapping[str, str], at_s: float) -> None:
    for channel in channels_of(job.alerts):
        state.change(
            "INSERT INTO message (at, channel, body) VALUES (?, ?, ?)",
            at_s,
            channel,
            json.dumps(body, ensure_ascii=False),
        )


def deliver(job: PullJob, state: State, now_s: float, warn: Callable[[str], None]) -> None:
    """Tell all that is still to be told, oldest first; what cannot be told stays for later."""
    failed, there = set[str](), channels_of(job.alerts)
    until_s = time.monotonic() + TELLING_S
    messages = state.messages()
    for number, message in enumerate(messages):
        if time.monotonic() > until_s:
            warn(f"alerts that wait for the next pull: {len(messages) - number}")
            break
        if message.channel in failed:  # it would wait for its time-out each time
            continue
        if message.channel in there:  # else the job has it no more
            try:
                send(message.channel, json.loads(message.body), job.alerts, job.path.parent)
            except ChannelError as exc:
                failed.add(message.channel)
                warn(f"an alert could not be told, the next pull tries again: {exc}")
                continue
        _forget(state, message)
    for channel in failed:
        _give_up(state, channel, now_s, warn)


def _give_up(state: State, channel: str, now_s: float, warn: Callable[[str], None]) -> None:
    """Forget of what waits for a channel that is down what nobody has to know any more."""
    waiting = [message for message in state.messages() if message.channel == channel]
    firing = {(rule, subject, iso(since)) for rule, subject, since in _firing(state)}
    given_up = [
        message
        for number, message in enumerate(reversed(waiting))
        if (number >= MOST_WAITING or now_s - message.at > OLD_S) and not _is_so(message, firing)
    ]
    for message in given_up:
        _forget(state, message)
    if given_up:
        warn(f"{channel}: alerts of what is over are given up: {len(given_up)}")


def _is_so(message: Message, firing: Set[tuple[str, str, str]]) -> bool:
    """Whether an alert tells of what fires still."""
    body = json.loads(message.body)
    own = (body["rule"], body["subject"], body["since"])
    return body["state"] == "firing" and own in firing


def _forget(state: State, message: Message) -> None:
    state.change("DELETE FROM message WHERE id = ?", message.id)
