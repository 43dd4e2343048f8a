"""Settings: defaults, and one sentence for each value that cannot be read."""

from __future__ import annotations

import re

import pytest

from dedicated import settings
from dedicated.api.endpoint import EngineKind
from dedicated.settings import BadSetting, from_environment, gateway_from_environment


def test_an_empty_environment_gives_the_defaults():
    found = from_environment({})
    assert (found.system_namespace, found.resync_s, found.limits.placement_s, found.port) == ("dedicated-system", 600, 1800, 8081)
    assert found.platform.hub_endpoint == "https://huggingface.co" and found.platform.engine_images == {}


def test_what_is_set_is_taken():
    env = {"DEDICATED_IMAGE_LLAMACPP": "x:1", "HF_ENDPOINT": "http://hub/", "DEDICATED_BLOCKED_CIDRS": "10.0.0.0/8, 1.2.3.0/24"}
    found = from_environment(env).platform
    assert found.engine_images == {EngineKind.LLAMACPP: "x:1"} and found.hub_endpoint == "http://hub"
    assert found.blocked_cidrs == ("10.0.0.0/8", "1.2.3.0/24")


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEDICATED_RESYNC_SECONDS", "soon"), ("DEDICATED_PORT", "-1"), ("DEDICATED_EXTRA_EGRESS", "{")],
)
def test_a_value_that_cannot_be_read_is_one_sentence_that_names_it(name, value):
    with pytest.raises(BadSetting, match=name):
        from_environment({name: value})


def test_every_variable_that_is_read_is_in_the_table():
    source = (settings.__file__ and open(settings.__file__).read()) or ""  # noqa: SIM115
    read = set(re.findall(r'"(DEDICATED_[A-Z_]+|HF_ENDPOINT|KUBECONFIG)"', source)) | {f"DEDICATED_{name}_SECONDS" for name in settings._SECONDS}
    table = set(re.findall(r"\| (\w+) \|", f"{from_environment.__doc__}{gateway_from_environment.__doc__}"))
    assert read - table == set()


def test_an_empty_environment_gives_a_gateway_for_keys_alone():
    found = gateway_from_environment({})
    assert (found.plane.port, found.plane.tls_dir, found.session_jwks, found.activity_namespace) == (8080, None, "", "dedicated-activity")
    assert "10.0.0.0/8" in found.pod_cidrs


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"DEDICATED_POD_CIDRS": "10.0.0.0/8,all"}, "DEDICATED_POD_CIDRS"),
        ({"DEDICATED_MAX_BODY_BYTES": "8Mi"}, "DEDICATED_MAX_BODY_BYTES"),
        ({"DEDICATED_SESSION_JWKS": "/jwks.json", "DEDICATED_SESSION_ISSUER": "x"}, "DEDICATED_SESSION_AUDIENCE"),
    ],
    ids=["no network", "no number", "sessions for anybody"],
)
def test_a_gateways_value_that_cannot_be_read_is_one_sentence_that_names_it(env, says):
    with pytest.raises(BadSetting, match=says):
        gateway_from_environment(env)
