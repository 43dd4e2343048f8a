"""hack/hub fails on demand: what a client sees of each fault, set in Python or over HTTP."""

from __future__ import annotations

import hashlib
import time

import httpx
import pytest

from hack.hub.faults import Fault
from hack.hub.server import Hub
from tests.support.hub import WEIGHTS, make_models, serving

INFO = "/api/models/acme/tiny"
FILE = "/acme/tiny/resolve/main/tiny.gguf"
SMALL = "/acme/tiny/resolve/main/README.md"
CONTROL = "/control/faults"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def hub(models):
    return Hub(models)


@pytest.fixture
def client(hub):
    with serving(hub) as url, httpx.Client(base_url=url, follow_redirects=True, timeout=10) as client:
        yield client


def statuses(client, *paths):
    return [client.get(path).status_code for path in paths]


def test_a_quota_that_is_used_up_says_when_to_come_back_and_is_one_kinds_own(client, hub):
    hub.faults = [Fault(kind="api", status=429, retry_after_s=12)]
    said = client.get(INFO)
    assert said.status_code == 429
    assert said.headers["RateLimit"] == '"api";r=0;t=12'
    assert said.headers["RateLimit-Policy"] == '"fixed window";"api";q=500;w=300'
    assert said.headers["Retry-After"] == "12"
    assert statuses(client, INFO, "/api/whoami-v2", SMALL) == [429, 429, 200]


def test_the_real_client_reads_the_quota(client, hub):
    http = pytest.importorskip("huggingface_hub.utils._http")
    hub.faults = [Fault(kind="resolvers", status=429, retry_after_s=7)]
    info = http.parse_ratelimit_headers(client.get(SMALL).headers)
    assert (info.resource_type, info.remaining, info.reset_in_seconds, info.limit, info.window_seconds) == ("resolvers", 0, 7, 3000, 300)


def test_a_fault_ends_after_its_times(client, hub):
    hub.faults = [Fault(kind="api", status=503, times=2)]
    assert statuses(client, SMALL, INFO, INFO, INFO) == [200, 503, 503, 200]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("any", [500, 500, 500]), ("api", [500, 200, 200]), ("resolvers", [200, 500, 500]), ("content", [200, 200, 500])],
)
def test_a_fault_is_of_one_kind_of_request(client, hub, kind, seen):
    hub.faults = [Fault(kind=kind, status=500)]
    assert statuses(client, INFO, SMALL, FILE) == seen


def test_a_fault_can_be_of_one_path_only(client, hub):
    hub.faults = [Fault(path="whoami", status=502), Fault(path="acme/sharded", status=504)]
    assert statuses(client, "/api/whoami-v2", "/api/models/acme/sharded", INFO) == [502, 504, 200]


def test_a_slow_answer_comes_late(client, hub):
    hub.faults = [Fault(kind="api", delay_s=0.1)]
    before = time.monotonic()
    assert client.get(INFO).status_code == 200
    assert time.monotonic() - before >= 0.1


def test_a_silent_hub_accepts_and_never_answers(client, hub):
    hub.faults = [Fault(kind="api", silent=True, times=1)]
    with pytest.raises(httpx.ReadTimeout):
        client.get(INFO, timeout=0.1)
    assert client.get(INFO).status_code == 200


def test_a_hub_with_a_caller_who_waits_for_nothing_can_be_stopped(hub):
    hub.faults = [Fault(silent=True)]
    before = time.monotonic()
    with serving(hub) as url, httpx.Client() as client, pytest.raises(httpx.ReadTimeout):
        client.get(url + INFO, timeout=0.05)
    assert time.monotonic() - before < 5


def test_a_slow_download_is_no_faster_than_told(client, hub):
    hub.faults = [Fault(kind="content", bytes_per_second=1_000_000)]
    before = time.monotonic()
    assert len(client.get(FILE, headers={"Range": "bytes=0-199999"}).content) == 200_000
    assert 0.15 <= time.monotonic() - before < 5


def received(client, path, headers=None):
    """What arrives before the connection breaks, and whether it broke."""
    got = b""
    try:
        with client.stream("GET", path, headers=headers) as response:
            for chunk in response.iter_raw():
                got += chunk
    except httpx.TransportError:
        return got, True
    return got, False


def test_a_download_is_cut_once(client, hub):
    hub.faults = [Fault(kind="content", cut_after_bytes=1_000_000, times=1)]
    got, broken = received(client, FILE)
    assert broken and len(got) <= 1_000_000 and WEIGHTS.startswith(got)
    assert received(client, FILE) == (WEIGHTS, False)


def test_a_download_that_is_cut_each_time_still_ends_when_it_is_taken_up(client, hub):
    hub.faults = [Fault(kind="content", cut_after_bytes=4_000_000)]
    got, cuts = b"", 0
    for _ in range(100):
        part, broken = received(client, FILE, {"Range": f"bytes={len(got)}-"})
        got, cuts = got + part, cuts + broken
        if not broken:
            break
    assert got == WEIGHTS and cuts >= 2


def test_wrong_content_has_the_right_size_and_another_digest(client, hub):
    hub.faults = [Fault(kind="content", wrong_content=True, times=1)]
    said = client.get(FILE)
    assert len(said.content) == len(WEIGHTS)
    assert hashlib.sha256(said.content).hexdigest() != said.headers["ETag"].strip('"') == hashlib.sha256(WEIGHTS).hexdigest()
    assert client.get(FILE).content == WEIGHTS


def test_a_short_file_has_a_content_length_that_agrees_with_it(client, hub):
    hub.faults = [Fault(kind="content", short_by_bytes=1000)]
    said = client.get(FILE)
    assert said.content == WEIGHTS[:-1000]
    assert int(said.headers["Content-Length"]) == len(WEIGHTS) - 1000
    assert int(said.headers["X-Linked-Size"]) == len(WEIGHTS)


def test_faults_are_replaced_and_counted_over_http(client, hub):
    posted = [{"kind": "api", "status": 503, "times": 1}, {"kind": "content", "cut_after_bytes": 10}]
    assert client.post(CONTROL, json=posted).json() == posted
    assert statuses(client, INFO, INFO) == [503, 200]
    assert [fault.get("shown", 0) for fault in client.get(CONTROL).json()] == [1, 0]
    assert client.post(CONTROL, json=[]).json() == hub.faults == []


def test_what_is_told_to_the_hub_is_not_counted_as_asked_of_it(client, hub):
    hub.faults = [Fault(status=500)]
    assert statuses(client, CONTROL, "/healthz") == [200, 200]
    assert hub.requests == []


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (CONTROL, '[{"stauts": 500}]', "There is no field 0.stauts."),
        (CONTROL, '[{"status": 200}]', "0.status: Input should be greater than or equal to 400."),
        (CONTROL, '[{"status": "500"}]', "0.status: Input should be a valid integer."),
        (CONTROL, '[{"kind": "pages", "status": 500}]', "0.kind: Input should be"),
        (CONTROL, '[{"kind": "api"}]', "0: a fault has one effect, and this has 0"),
        (CONTROL, '[{"silent": true, "status": 500}]', "0: a fault has one effect, and this has 2"),
        (CONTROL, '[{"silent": true, "retry_after_s": 5}]', "0: retry_after_s goes with a status."),
        (CONTROL, '[{"silent": true, "path": "("}]', "0: path is no regular expression"),
        (CONTROL, "{", "The body: Invalid JSON"),
        ("/control/tokens", '{"hf_x": {"rolle": "read"}}', "There is no field hf_x.rolle."),
        ("/control/tokens", '{"hf_x": {"role": "admin"}}', "hf_x.role: Input should be"),
        ("/control/tokens", '{"hf_x": {"requests": {"acme/gated": "denied"}}}', "hf_x.requests.acme/gated: Input should be"),
    ],
)
def test_what_is_not_understood_is_refused_with_a_sentence_and_changes_nothing(client, hub, path, body, sentence):
    hub.faults, hub.tokens = [Fault(status=500)], {"hf_kept": []}
    said = client.post(path, content=body)
    assert said.status_code == 400
    assert said.json()["error"].startswith(sentence)
    assert (len(hub.faults), list(hub.tokens)) == (1, ["hf_kept"])


def test_accounts_are_replaced_over_http(client):
    gate = "/api/models/acme/gated/auth-check"

    def asked(token):
        return client.get(gate, headers={"Authorization": f"Bearer {token}"}).status_code

    assert asked("hf_a") == 401
    accounts = {
        "hf_a": {"name": "alice", "requests": {"acme/gated": "accepted"}},
        "hf_b": {"requests": {"acme/gated": "pending"}},
        "hf_c": ["acme/gated"],
    }
    assert client.post("/control/tokens", json=accounts).json() == {"tokens": 3}
    assert [asked(token) for token in ("hf_a", "hf_b", "hf_c", "hf_d")] == [200, 403, 200, 401]
