"""Each refusal of the hub has its own reason, and says where to go."""

from __future__ import annotations

import json

import httpx
import pytest

from dedicated.adapters.hub import Asked, Token, error_of
from dedicated.api.errors import Stalled, Transient
from dedicated.api.reasons import Reason

HUB = "https://hub.example"
PAGE = f"{HUB}/acme/x"
TOKEN = Token("hf_goodgoodgood", "Secret hub-token (key HF_TOKEN)")
SECRET = "Secret hub-token (key HF_TOKEN)"
R = Reason

# status, X-Error-Code, the hub's words, with a token -> reason, and what the message names (huggingface_hub 2.4.0 utils/_http.py)
ANSWERS = [
    ("gated, no token", 401, "GatedRepo", "", False, R.TOKEN_MISSING, [PAGE, "spec.model.tokenSecretRef"]),
    (
        "gated, not approved",
        403,
        "GatedRepo",
        "you are not in the authorized list",
        True,
        R.GATED_ACCESS_DENIED,
        [PAGE, SECRET, "waits for approval"],
    ),
    ("gated, waiting", 403, "GatedRepo", "Your request is awaiting a review from the repo authors.", True, R.GATED_ACCESS_PENDING, [PAGE, SECRET]),
    ("gated, rejected", 403, "GatedRepo", "Your request has been rejected by the authors.", True, R.GATED_ACCESS_DENIED, [PAGE, "rejected"]),
    ("missing or private, anonymous", 401, "RepoNotFound", "", False, R.MODEL_NOT_FOUND, ["does not exist or is private"]),
    ("missing, anonymous, a mirror without codes", 401, "", "", False, R.MODEL_NOT_FOUND, ["does not exist or is private"]),
    ("missing, with a token", 404, "RepoNotFound", "", True, R.MODEL_NOT_FOUND, [SECRET, "may not see it"]),
    ("a bare 401 with a token", 401, "", "", True, R.MODEL_NOT_FOUND, [SECRET]),
    ("a bad token", 401, "", "Invalid credentials in Authorization header", True, R.TOKEN_INVALID, [SECRET]),
    ("an expired token", 401, "", 'User Access Token "ci" is expired', True, R.TOKEN_INVALID, [SECRET]),
    ("a bad token at whoami", 401, "", "Invalid user token.", True, R.TOKEN_INVALID, [SECRET]),
    (
        "a token without scope",
        403,
        "",
        "Please enable access to gated",
        True,
        R.TOKEN_SCOPE_INSUFFICIENT,
        [SECRET, f"{HUB}/settings/tokens", "enable"],
    ),
    ("a mirror that wants a token", 403, "", "", False, R.TOKEN_MISSING, ["spec.model.tokenSecretRef"]),
    ("a bad revision", 404, "RevisionNotFound", "", True, R.REVISION_NOT_FOUND, ["'v9'", PAGE]),
    ("a disabled repository", 403, "", "Access to this resource is disabled.", True, R.MODEL_DISABLED, [PAGE]),
    ("a repository that the law forbids", 451, "", "", False, R.MODEL_DISABLED, [PAGE]),
    ("too many requests", 429, "", "", True, R.HUB_RATE_LIMITED, [HUB]),
    ("a bad gateway", 502, "", "", True, R.HUB_UNAVAILABLE, ["502"]),
    ("a redirect to nowhere", 302, "", "", False, R.HUB_UNAVAILABLE, ["302"]),
]


def error(status, code="", words="", *, token=TOKEN, **headers):
    found = httpx.Headers({**({"X-Error-Code": code} if code else {}), **headers})
    return error_of(HUB, Asked("acme/x", "v9", token), status, found, json.dumps({"error": words}).encode())


@pytest.mark.parametrize(("status", "code", "words", "with_token", "reason", "names"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_each_answer_of_the_hub_has_its_reason_and_says_where_to_go(status, code, words, with_token, reason, names):
    found = error(status, code, words, token=TOKEN if with_token else None)
    assert found.reason == reason
    assert isinstance(found, Transient if reason in (R.HUB_RATE_LIMITED, R.HUB_UNAVAILABLE) else Stalled)
    assert [name for name in names if name not in found.message] == []


def test_who_has_no_access_is_named_by_account_where_the_hub_told_it():
    found = error_of(HUB, Asked("acme/x", "main", TOKEN, account="alice"), 403, httpx.Headers({"X-Error-Code": "GatedRepo"}), b"")
    assert f"account alice (the token in {SECRET})" in found.message


@pytest.mark.parametrize(("header", "value"), [("Retry-After", "7"), ("RateLimit", '"api";r=0;t=7')])
def test_a_rate_limit_says_how_long_to_wait(header, value):
    found = error(429, **{header: value})
    assert (found.retry_after_s, "asks to wait 7 s" in found.message) == (7, True)


def test_a_hub_that_asks_for_years_is_asked_again_after_an_hour():
    assert error(429, **{"Retry-After": "99999999"}).retry_after_s == 3600


@pytest.mark.parametrize(
    "body", [b"<html>" + b"x" * 5000, b"[" * 100_000, b"\xff", b"[]", b"null"], ids=["HTML", "depth", "no text", "a list", "null"]
)
def test_what_is_no_answer_of_a_hub_adds_no_words(body):
    found = error_of(HUB, Asked("acme/x", "main", TOKEN), 403, httpx.Headers(), body)
    assert found.reason is R.TOKEN_SCOPE_INSUFFICIENT and "The hub says" not in found.message


def test_a_hub_that_repeats_the_token_does_not_make_us_repeat_it():
    found = error(403, words=f"Forbidden for Bearer {TOKEN.text} and {TOKEN.text}")
    assert TOKEN.text not in found.message and "***" in found.message
