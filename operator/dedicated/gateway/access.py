"""
Who may call what, and where the call goes. Facts of a request in; a route, a refusal or "not now" out. Knows no clock and no connection.

Order of checks: authenticate, own, state, wake. A call that is refused wakes nothing and is no activity.

| status | sentence | when |
|---|---|---|
| 401 | Missing or invalid Authorization header | no header, or not Bearer |
| 401 | Invalid API key | empty, malformed, unknown, expired or revoked key; a session that is not valid |
| 403 | You must generate an API key first to use inference. | a session whose user has no active key |
| 403 | Unauthorized access to dedicated endpoint | an id that is not the caller's, or nobody's: on /v1, and on /api/d in a session |
| 403 | Forbidden: Access denied. | the same on /api/d with a key |
| 404 | Model '<name>' is not in the catalogue. | a display name that no shared endpoint has |
| 404 | Not found | another path |
| 400 | what is wrong with the body | no JSON object, or no model in it |
| 503 | the state, in a sentence | the endpoint does not answer now |

A call that is held is judged again by `again` when something changes: its key may have been revoked, its endpoint may be somebody else's by then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from dedicated.api.messages import still_waking, waking_up
from dedicated.core.clock import from_rfc3339
from dedicated.gateway.body import BadBody, Model, model_of
from dedicated.gateway.handover import wakes
from dedicated.gateway.keyring import Key
from dedicated.gateway.standing import State
from dedicated.gateway.table import Endpoint

MISSING = "Missing or invalid Authorization header"
INVALID = "Invalid API key"
NO_KEY_YET = "You must generate an API key first to use inference."
UNAUTHORIZED = "Unauthorized access to dedicated endpoint"
FORBIDDEN = "Forbidden: Access denied."
NOT_FOUND = "Not found"
DELETED = "The endpoint was deleted."
"""To a call that was held: its caller owned the endpoint, so this tells nobody anything."""
CHECK = "/check"
"""Path before that of a call whose check this is: a client's path never begins so, since no route leads there."""
ID_PREFIX = "endpt-"
MAX_RETRY_AFTER_S = 120
"""Longest Retry-After; the whole estimate is in X-Expected-Seconds."""
UNKNOWN_RETRY_S = 10
"""Retry-After where no earlier wake tells how long one takes."""
NO_REPLICA_RETRY_S = 2
"""Retry-After while an endpoint is up and none of its pods serves: the watch tells within seconds that one does again."""

ANSWERING = (State.UP, State.WAKING)
"""While an endpoint wakes, an engine that answered our own probe is called before the operator says that it is up."""
NO_ROOM = ("NoCapacity", "QuotaExceeded")
"""Reasons for which nothing is known of when it ends: a call is not held for them."""

_ENGINE_BY_ID = re.compile(r"/api/d/([^/?]+)/v1/[^?]*(?:\?.*)?")
_ENGINE_BY_MODEL = re.compile(r"/v1/[^?]*(?:\?.*)?")
_ABOUT = re.compile(r"/api/d/([^/?]+)(?:/(logs|wake))?(?:\?.*)?")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a request. `body` is empty where the path decides alone."""

    method: str
    path: str
    authorization: str | None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: with a key, or in a session."""

    owner: str
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """No; and nothing else happens."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Not now: 503 with the state, and when to come again where that can help.

    Args:
        wakes: The endpoint is to be woken.
        passes: It answers soon if all goes well, so a call may be held for it.
        expected_s: Until it answers. (seconds)
        model: What the body named, where the engine knows another name.
    """

    endpoint: Endpoint
    sentence: str
    retry_after_s: int | None
    wakes: bool = False
    passes: bool = False
    expected_s: float | None = None
    model: Model | None = None

    @property
    def headers(self) -> dict[str, str]:
        """State, reason and times, for programs."""
        standing = self.endpoint.standing
        found = {"X-Endpoint-State": standing.state.value}
        found |= {"X-Endpoint-Reason": standing.reason} if standing.reason else {}
        if self.retry_after_s is not None:
            found["Retry-After"] = str(self.retry_after_s)
            found |= {"X-Expected-Seconds": f"{self.expected_s:.0f}"} if self.expected_s is not None else {}
        return found


@dataclass(frozen=True, slots=True)
class Route:
    """Yes. `model` is set where the engine knows the model under its id and the body says another name."""

    caller: Caller
    endpoint: Endpoint
    address: str
    pod: str
    model: Model | None = None


Decision = Route | Refuse | Wait


class Endpoints(Protocol):
    """What is asked of the table."""

    def by_id(self, endpoint_id: str) -> Endpoint | None: ...
    def by_catalogue_name(self, name: str) -> Endpoint | None: ...
    def usable(self, endpoint: Endpoint) -> Mapping[str, str]: ...


class Keys(Protocol):
    """What is asked of the keyring."""

    def find(self, secret: str, now: float) -> Key | None: ...
    def has_active(self, owner: str, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class View:
    """What the gateway knows. `subject` answers the user of a valid session token; `pick` chooses among addresses that answer."""

    endpoints: Endpoints
    keys: Keys
    subject: Callable[[str], str | None]
    pick: Callable[[Collection[str]], str]


def decide(call: Call, view: View, now: float) -> Decision:
    """Whether and where an inference call goes. (now: seconds since the epoch)"""
    caller = authenticate(call.authorization, view, now)
    if isinstance(caller, Refuse):
        return caller
    if found := _ENGINE_BY_ID.fullmatch(call.path):
        endpoint = owned(found[1], caller, view.endpoints)
        return endpoint if isinstance(endpoint, Refuse) else _as_it_stands(caller, endpoint, view, now)
    if _ENGINE_BY_MODEL.fullmatch(call.path):
        return _by_model(call.body, caller, view, now)
    return Refuse(404, NOT_FOUND)


def again(call: Call, held: Wait, view: View, now: float) -> Decision:
    """The same for a call that was held, whose body is not needed any more."""
    caller = authenticate(call.authorization, view, now)
    if isinstance(caller, Refuse):
        return caller
    endpoint = view.endpoints.by_id(held.endpoint.id)
    if endpoint is None:
        return Refuse(503, DELETED)
    shared = held.model is not None and view.endpoints.by_catalogue_name(held.model.name) is endpoint
    if endpoint.owner != caller.owner and not shared:
        return Refuse(403, UNAUTHORIZED)
    return _as_it_stands(caller, endpoint, view, now, held.model)


def authenticate(authorization: str | None, view: View, now: float) -> Caller | Refuse:
    """Who calls."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return Refuse(401, MISSING, {"WWW-Authenticate": "Bearer"})
    key = view.keys.find(token.strip(), now)
    if key is not None:
        return Caller(key.owner, key)
    subject = view.subject(token.strip()) if token.count(".") == 2 else None
    if subject is None:
        return Refuse(401, INVALID, {"WWW-Authenticate": "Bearer"})
    return Caller(subject) if view.keys.has_active(subject, now) else Refuse(403, NO_KEY_YET)


def owned(endpoint_id: str, caller: Caller, endpoints: Endpoints) -> Endpoint | Refuse:
    """The caller's endpoint of this id, on /api/d. Somebody else's and nobody's are the same answer."""
    endpoint = endpoints.by_id(endpoint_id)
    if endpoint is not None and endpoint.owner == caller.owner:
        return endpoint
    return Refuse(403, FORBIDDEN if caller.key else UNAUTHORIZED)


def about(path: str) -> tuple[str, str] | None:
    """Id and subject (empty, logs or wake) of a path that asks about an endpoint and not its engine."""
    found = _ABOUT.fullmatch(path)
    return (found[1], found[2] or "") if found else None


def _by_model(body: bytes, caller: Caller, view: View, now: float) -> Decision:
    try:
        model = model_of(body)
    except BadBody as wrong:
        return Refuse(400, str(wrong))
    if model.name.startswith(ID_PREFIX):
        endpoint = view.endpoints.by_id(model.name)
        if endpoint is None or endpoint.owner != caller.owner:
            return Refuse(403, UNAUTHORIZED)
        return _as_it_stands(caller, endpoint, view, now)
    endpoint = view.endpoints.by_catalogue_name(model.name)
    if endpoint is None:
        return Refuse(404, f"Model '{model.name}' is not in the catalogue.")
    return _as_it_stands(caller, endpoint, view, now, model)


def _as_it_stands(caller: Caller, endpoint: Endpoint, view: View, now: float, model: Model | None = None) -> Decision:
    if endpoint.standing.state in ANSWERING and (usable := view.endpoints.usable(endpoint)):
        address = view.pick(usable)
        return Route(caller, endpoint, address, usable[address], model)
    wait = not_now(endpoint, now)
    return replace(wait, model=model) if model else wait


def not_now(endpoint: Endpoint, now: float) -> Wait:
    """Why an endpoint does not answer, whether a call wakes it, and whether one may wait for it. (now: seconds since the epoch)"""
    state, reason = endpoint.standing.state, endpoint.standing.reason
    why = f" ({reason})" if reason else ""
    if state is State.FAILED:
        return Wait(endpoint, f"The endpoint has failed{why}; its owner has to mend it.", None)
    if state is State.PAUSED:
        return Wait(endpoint, "The endpoint is paused; its owner can resume it.", None)
    if state is State.UP:
        return _without_replica(endpoint)
    if state is State.SLEEPING:
        return _asleep(endpoint, now)
    expected_s = _left_s(endpoint, now)
    retry_s = _retry_s(expected_s)
    if state is State.WAKING:
        return Wait(endpoint, still_waking(expected_s), retry_s, passes=True, expected_s=expected_s)
    sentence = f"The endpoint is building{why}; try again in {retry_s} seconds."
    return Wait(endpoint, sentence, retry_s, passes=reason not in NO_ROOM, expected_s=expected_s)


def _without_replica(endpoint: Endpoint) -> Wait:
    """None of its pods serves, or all are about to be removed; where that is to put it to sleep, a call takes it back."""
    kept = wakes(endpoint.drain, sleeping=False)
    why = "is just going to sleep and is kept awake" if kept else "is up, but none of its replicas answers"
    sentence = f"The endpoint {why}; try again in {NO_REPLICA_RETRY_S} seconds."
    return Wait(endpoint, sentence, NO_REPLICA_RETRY_S, wakes=kept, passes=True, expected_s=endpoint.expected_s)


def _asleep(endpoint: Endpoint, now: float) -> Wait:
    pause_s = from_rfc3339(endpoint.next_attempt_at) - now if endpoint.next_attempt_at else 0.0
    if pause_s > 0:
        retry_s = _bounded(pause_s)
        why = f" ({endpoint.failure})" if endpoint.failure else ""
        return Wait(
            endpoint, f"The endpoint is sleeping, and its last wake failed{why}; try again in {retry_s} seconds.", retry_s, expected_s=pause_s
        )
    return Wait(endpoint, waking_up(endpoint.expected_s), _retry_s(endpoint.expected_s), wakes=True, passes=True, expected_s=endpoint.expected_s)


def _left_s(endpoint: Endpoint, now: float) -> float | None:
    """What is left of a wake, as earlier ones tell. (seconds)"""
    if endpoint.expected_s is None or endpoint.waking_since is None:
        return endpoint.expected_s
    return max(1.0, endpoint.expected_s - max(0.0, now - endpoint.waking_since))


def _retry_s(expected_s: float | None) -> int:
    return _bounded(UNKNOWN_RETRY_S if expected_s is None else expected_s)


def _bounded(seconds: float) -> int:
    return max(1, min(MAX_RETRY_AFTER_S, round(seconds)))
