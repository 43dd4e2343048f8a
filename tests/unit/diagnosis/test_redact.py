"""What must not be read on a status."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dedicated.diagnosis.redact import redacted, tail


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token hf_abcdefghijklmnop", "abcdefgh"),
        ("Authorization: Bearer eyJhbGciOiJIUzI1", "eyJ"),
        ("Authorization: Digest Zm9vYmFy", "Zm9v"),
        ('{"authorization": "hunter2hunter2"}', "hunter2"),
        ("headers={'Authorization': b'Bearer abc.def-ghi'}", "abc.def"),
        ("x-api-key: 4f9c2b1a", "4f9c"),
        ("Set-Cookie: session=abc123; HttpOnly", "abc123"),
        ("key=sk-abcdefghijklmnopqrst", "abcdefghij"),
        ("https://h/x?X-Amz-Signature=deadbeef&a=1", "deadbeef"),
        ("https://h/x?X-Amz-Security-Token=IQoJb3JpZ2luX2VjE&X-Amz-Expires=9", "IQoJ"),
        ("https://storage.googleapis.com/b/o?X-Goog-Signature=0a1b2c&X-Goog-Date=2", "0a1b2c"),
        ("https://acct.blob.core.windows.net/c/b?sv=2024&sp=r&sig=Zm9v%2Bbar%3D", "Zm9v"),
        ("redirect=https%3A%2F%2Fh%2Fx%3Fa&sig%3DZm9vYmFy", "Zm9vYmFy"),
        ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
        ('"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG",', "wJalr"),
        ("AWS_SESSION_TOKEN=FwoGZXIvYXdzEBYaD", "FwoGZ"),
        ("HF_TOKEN: 'abcDEF123'", "abcDEF123"),
        ("--api-key supersecret1", "supersecret1"),
        ("--hf-token=supersecret1", "supersecret1"),
        ("non-default args: {'api_key': ['first-one', 'second-one'], 'port': 8000}", "second-one"),
        ("https://user:passw0rd@host/", "passw0rd"),
        ("redis://:passw0rd@host/", "passw0rd"),
        ("https://oauth2tokenoauth2token@host/x", "oauth2token"),
        ('{"password": "hunter22222"}', "hunter22222"),
        (r"{\"password\": \"hunter22222\"}", "hunter22222"),
        ("password=123456", "123456"),
        ("dk-" + "a" * 46, "aaaa"),
        ("cookie jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end", "c2lnbm"),
        ("ghp_0123456789abcdefABCDEF", "0123456789"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----\nafter", "MIIEow"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow\ncut off here", "MIIEow"),
        ("hf_abc\x1b[0mdefghijklmnop", "defghijk"),
    ],
)
def test_secrets_of_every_form_are_taken_out(text, secret):
    assert secret not in redacted(text)


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: 13.5 GiB needed, token count 512, https://host/path?x=1",
        "GPU KV cache size: 56,288 tokens",
        "max_total_num_tokens=217856, max_prefill_tokens=9000",
        "non-default args: {'model': 'Qwen/Qwen2.5-7B', 'hf_token': None, 'port': 8000}",
        "OSError: [Errno 13] Permission denied: '/mnt/models/hf'",
        "Entry Not Found for url: https://huggingface.co/bert-base-cased/resolve/main/config.json.",
    ],
)
def test_ordinary_lines_stay_as_they_are(line):
    assert redacted(line) == line


def test_colours_and_control_characters_go():
    assert redacted("\x1b[31mred\x1b[0m\x07") == "red"


def test_a_tail_begins_at_a_line_and_keeps_the_end():
    assert tail("first\nsecond\nthird", 13) == "second\nthird"
    assert tail("é" * 10, 5) == "éé"
    assert tail("short", 100) == "short"


ALNUM = string.ascii_letters + string.digits
BODY = st.text(alphabet=ALNUM, min_size=24, max_size=40)
PLANTS = st.sampled_from(
    [
        "hf_{}",
        "dk-{}",
        "sk-{}",
        "Bearer {}",
        "Authorization: {}",
        "authorization=Basic {}",
        '{{"token": "a{}"}}',
        "HF_TOKEN=a{}",
        "aws_secret_access_key=a{}",
        "https://h/o?X-Amz-Signature={}&x=1",
        "https://h/o?sig={}",
        "https://user:{}@h/",
        "--api-key {}",
        "password: {}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.{}",
    ]
)
NOISE = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\\"), max_size=60)


@given(before=NOISE, plant=PLANTS, body=BODY, after=NOISE)
def test_a_secret_planted_anywhere_never_survives(before, plant, body, after):
    assume(body not in before + after)
    assert body not in redacted(f"{before} {plant.format(body)}\n{after}")


@given(before=NOISE, plant=PLANTS, body=BODY, after=NOISE, limit=st.integers(1, 200))
def test_a_bounded_tail_shows_no_half_of_a_secret(before, plant, body, after, limit):
    shown = tail(redacted(f"{before} {plant.format(body)}\n{after}"), limit)
    assert len(shown.encode()) <= limit
    halves = [body[at : at + 8] for at in range(len(body) - 8)]
    assert not any(half in shown for half in halves if half not in before + after)


@given(before=NOISE, plant=PLANTS, body=BODY, after=NOISE)
def test_redacting_twice_changes_nothing(before, plant, body, after):
    once = redacted(f"{before} {plant.format(body)}\n{after}")
    assert redacted(once) == once
