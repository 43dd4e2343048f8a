"""Access is proven in an order that finds the cause, once for all who ask alike, and again when it matters."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from dedicated.adapters.hub import Hub, Token
from dedicated.api.errors import DedicatedError, HubRateLimited, HubUnavailable, ModelNotFound
from dedicated.api.reasons import Reason
from dedicated.weights.repository import Access
from hack.hub.accounts import Account
from hack.hub.faults import Fault
from hack.hub.server import Hub as Server
from tests.support.hub import make_facts, make_models, serving

SECRET = "Secret hub-token (key HF_TOKEN)"
ACCOUNTS = {
    "hf_member": Account(name="alice", member_of=["acme"]),
    "hf_stranger": Account(name="bob"),
    "hf_accepted": Account(name="carol", requests={"acme/gated": "accepted"}),
    "hf_pending": Account(name="dave", requests={"acme/gated": "pending"}),
    "hf_rejected": Account(name="erin", requests={"acme/gated": "rejected"}),
    "hf_fine": Account(name="frank", role="fineGrained", member_of=["acme"]),
    "hf_fine_reads": Account(name="grace", role="fineGrained", member_of=["acme"], scoped={"acme": ["repo.content.read"]}),
    "hf_fine_gated": Account(name="heidi", role="fineGrained", requests={"acme/gated": "accepted"}),
}
R = Reason


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_facts(make_models(tmp_path_factory.mktemp("models")))


@pytest.fixture
def server(models):
    return Server(models, dict(ACCOUNTS))


@pytest.fixture
def url(server):
    with serving(server) as address:
        yield address


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def hub(url, clock):
    found = Hub(url, clock=clock)
    yield found
    await found.close()


def token(text):
    return Token(text, SECRET) if text else None


async def prove(hub, repo, text=None, **how):
    info = await hub.resolve(repo, "main", token(text), mark=how.get("mark", ""))
    return await hub.prove_access(repo, info.commit, token(text), **how)


def calls(server):
    """What was asked, in order: whoami, info, auth-check, HEAD."""
    names = {"whoami-v2": "whoami", "auth-check": "auth-check"}
    return [names.get(path.rpartition("/")[2], "info" if path.startswith("/api/") else method) for method, path, _ in server.requests]


@pytest.mark.parametrize(
    ("repo", "text", "order"),
    [
        ("acme/tiny", None, ["info", "HEAD"]),
        ("acme/tiny", "hf_stranger", ["whoami", "info", "HEAD"]),
        ("acme/gated", "hf_accepted", ["whoami", "info", "auth-check", "HEAD"]),
        ("acme/secret", "hf_member", ["whoami", "info", "auth-check", "HEAD"]),
        ("acme/secret", "hf_fine_reads", ["whoami", "info", "auth-check", "HEAD"]),
    ],
    ids=["open, anonymous", "open, with a token", "gated", "private", "private, by a scope"],
)
async def test_access_is_proven_by_whoami_then_info_then_auth_check_then_one_file(hub, server, repo, text, order):
    assert await prove(hub, repo, text) == Access(True, SECRET if text else None)
    assert calls(server) == order


REFUSED = [
    ("gated, no token", "acme/gated", None, R.TOKEN_MISSING, ["/acme/gated", "spec.model.tokenSecretRef"]),
    ("gated, not in the list", "acme/gated", "hf_stranger", R.GATED_ACCESS_DENIED, ["account bob", SECRET, "/acme/gated"]),
    ("gated, waiting", "acme/gated", "hf_pending", R.GATED_ACCESS_PENDING, ["account dave", SECRET, "/acme/gated"]),
    ("gated, rejected", "acme/gated", "hf_rejected", R.GATED_ACCESS_DENIED, ["rejected", SECRET]),
    ("gated, a fine-grained token without that right", "acme/gated", "hf_fine_gated", R.TOKEN_SCOPE_INSUFFICIENT, [SECRET, "gated repositories"]),
    ("private, anonymous", "acme/secret", None, R.MODEL_NOT_FOUND, ["does not exist or is private"]),
    ("private, a stranger", "acme/secret", "hf_stranger", R.MODEL_NOT_FOUND, [SECRET, "may not see it"]),
    ("private, a fine-grained token without scope", "acme/secret", "hf_fine", R.TOKEN_SCOPE_INSUFFICIENT, [SECRET, "reads no repository of acme"]),
    ("missing", "acme/none", "hf_member", R.MODEL_NOT_FOUND, ["acme/none"]),
    ("disabled", "acme/disabled", "hf_member", R.MODEL_DISABLED, ["/acme/disabled"]),
    ("an invalid token", "acme/tiny", "hf_invalid", R.TOKEN_INVALID, [SECRET]),
]


@pytest.mark.parametrize(("repo", "text", "reason", "names"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_each_refusal_has_its_own_reason_and_names_the_page_or_the_secret(hub, repo, text, reason, names):
    with pytest.raises(DedicatedError) as raised:
        await prove(hub, repo, text)
    assert raised.value.reason is reason
    assert [name for name in names if name not in raised.value.message] == []
    assert text is None or text not in raised.value.message


async def test_a_commit_that_is_gone_is_a_missing_revision(hub):
    with pytest.raises(DedicatedError) as raised:
        await hub.prove_access("acme/tiny", "0" * 40)
    assert raised.value.reason is R.REVISION_NOT_FOUND


async def test_a_thousand_endpoints_of_one_model_ask_a_handful_of_times(hub, server):
    await asyncio.gather(*(prove(hub, "acme/gated", "hf_accepted") for _ in range(1000)))
    assert Counter(calls(server)) == {"whoami": 1, "info": 1, "auth-check": 1, "HEAD": 1}


async def test_what_one_token_opened_opens_nothing_for_another(hub, server):
    await prove(hub, "acme/gated", "hf_accepted")
    await prove(hub, "acme/secret", "hf_member")
    for repo, text in (("acme/gated", "hf_stranger"), ("acme/gated", None), ("acme/secret", "hf_stranger"), ("acme/secret", None)):
        with pytest.raises(DedicatedError):
            await prove(hub, repo, text)
    with pytest.raises(DedicatedError):
        await hub.file_json("acme/gated", (await hub.resolve("acme/gated", "main")).commit, "config.json")


async def test_no_key_of_any_cache_holds_a_token(hub):
    await prove(hub, "acme/gated", "hf_accepted")
    held = [cache._known for cache in (hub._accounts, hub._infos, hub._proofs, hub._files)]
    assert all(held[:3]) and "hf_accepted" not in repr(held)


async def test_a_proof_is_good_for_a_burst_and_an_account_for_an_hour(hub, server, clock):
    await prove(hub, "acme/gated", "hf_accepted")
    server.tokens = {"hf_accepted": ACCOUNTS["hf_stranger"]}
    clock.now += 9
    assert (await prove(hub, "acme/gated", "hf_accepted")).granted
    clock.now += 2
    with pytest.raises(DedicatedError, match="is not in its list"):
        await prove(hub, "acme/gated", "hf_accepted")
    assert Counter(calls(server))["whoami"] == 1


async def test_a_token_that_is_revoked_is_noticed_though_its_account_is_remembered(hub, server, clock):
    await prove(hub, "acme/gated", "hf_accepted")
    server.tokens, clock.now = {}, clock.now + 61
    with pytest.raises(DedicatedError) as raised:
        await prove(hub, "acme/gated", "hf_accepted")
    assert raised.value.reason is R.TOKEN_INVALID


async def test_what_a_person_asks_to_be_looked_at_again_is_asked_of_the_hub_again(hub, server):
    with pytest.raises(DedicatedError):
        await prove(hub, "acme/gated", "hf_pending")
    server.tokens = {"hf_pending": ACCOUNTS["hf_accepted"]}
    with pytest.raises(DedicatedError):
        await prove(hub, "acme/gated", "hf_pending")
    assert (await prove(hub, "acme/gated", "hf_pending", mark="retry-1")).granted


async def test_a_moving_revision_is_followed_after_a_minute(hub, models, clock):
    before = (await hub.resolve("acme/sharded", "main")).commit
    (models / "acme/sharded/added.txt").write_text("x")
    try:
        assert (await hub.resolve("acme/sharded", "main")).commit == before
        assert (await hub.resolve("acme/sharded", "main", mark="refresh-1")).commit != before
        clock.now += 61
        assert (await hub.resolve("acme/sharded", "main")).commit != before
    finally:
        (models / "acme/sharded/added.txt").unlink()


async def test_a_quota_that_is_used_up_stops_all_calls_of_its_kind_for_as_long_as_the_hub_says(hub, server, clock):
    server.faults = [Fault(kind="api", status=429, retry_after_s=12)]
    for number in range(100):
        with pytest.raises(HubRateLimited, match="asks to wait 12 s") as raised:
            await hub.resolve(f"acme/m{number}", "main")
        assert raised.value.retry_after_s <= 12
    assert len(server.requests) == 1
    clock.now += 11.9
    with pytest.raises(HubRateLimited):
        await hub.resolve("acme/tiny", "main")
    assert len(server.requests) == 1
    server.faults, clock.now = [], clock.now + 0.2
    assert (await hub.resolve("acme/tiny", "main")).commit
    assert len(server.requests) == 2


async def test_one_callers_quota_is_not_anothers(hub, server):
    server.faults = [Fault(path="acme/tiny", status=429, times=1)]
    with pytest.raises(HubRateLimited):
        await hub.resolve("acme/tiny", "main", token("hf_stranger"))
    assert (await hub.resolve("acme/tiny", "main", token("hf_member"))).commit
    assert (await hub.resolve("acme/tiny", "main")).commit


async def test_whoami_that_is_limited_hinders_nobody(hub, server):
    server.faults = [Fault(path="whoami", status=429, retry_after_s=300)]
    assert (await prove(hub, "acme/gated", "hf_accepted")).granted
    assert (await prove(hub, "acme/secret", "hf_member")).granted
    with pytest.raises(DedicatedError) as raised:
        await prove(hub, "acme/tiny", "hf_invalid")
    assert raised.value.reason is R.TOKEN_INVALID


async def test_whoami_that_never_answers_hinders_nobody_and_is_waited_for_once(hub, server, monkeypatch):
    monkeypatch.setattr("dedicated.adapters.hub.transport.WHOLE_S", 0.2)
    server.faults = [Fault(path="whoami", silent=True)]
    for text in ("hf_accepted", "hf_member"):
        assert (await prove(hub, "acme/gated", text)).granted
    assert Counter(calls(server))["whoami"] == 1


async def test_a_hub_that_is_away_is_tried_by_one_at_a_time(clock):
    tried = []

    def handler(request):
        tried.append(request.url.path)
        raise httpx.ConnectTimeout("late")

    hub = Hub("http://hub", httpx.AsyncClient(transport=httpx.MockTransport(handler)), clock)
    for number in range(50):
        with pytest.raises(HubUnavailable):
            await hub.resolve(f"acme/m{number}", "main")
    assert len(tried) == 1
    clock.now += 5
    with pytest.raises(HubUnavailable):
        await hub.resolve("acme/m0", "main")
    assert len(tried) == 2


@pytest.fixture
def mirror(models):
    server = Server(models, dict(ACCOUNTS), mirror=True)
    with serving(server) as address:
        yield address, server


async def test_a_mirror_that_lacks_everything_but_files_is_proven_by_a_file(mirror):
    hub = Hub(mirror[0])
    assert (await prove(hub, "acme/gated", "hf_accepted")).granted
    assert "auth-check" in calls(mirror[1]) and calls(mirror[1])[-1] == "HEAD"
    with pytest.raises(ModelNotFound):
        await prove(hub, "acme/gated")
    await hub.close()


async def test_a_mirror_that_lacks_even_head_leaves_it_unknown():
    def handler(request):
        described = request.url.path.startswith("/api/models/acme/x/revision/")
        return httpx.Response(200, json={"siblings": [{"rfilename": "a.gguf", "size": 1}]}) if described else httpx.Response(405)

    hub = Hub("http://mirror", httpx.AsyncClient(transport=httpx.MockTransport(handler)))
    assert await prove(hub, "acme/x", "hf_any") == Access(False, SECRET)


async def test_the_wanted_file_is_the_one_that_is_asked_for(hub, server):
    await prove(hub, "acme/sharded", files=["tokenizer.json"])
    await prove(hub, "acme/sharded", mark="anew")
    heads = [path.rpartition("/")[2] for method, path, _ in server.requests if method == "HEAD"]
    assert heads == ["tokenizer.json", "model-00001-of-00002.safetensors"]
