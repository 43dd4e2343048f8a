"""hack/hub behaves like the Hugging Face Hub: the real huggingface_hub client is the judge."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from hack.hub.accounts import Account
from hack.hub.server import Hub
from tests.support.hub import TENSORS, WEIGHTS, make_facts, make_models, serving

hf = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")


GATED_READER = Account(role="fineGrained", requests={"acme/gated": "accepted"}, can_read_gated_repos=True)
ACCOUNTS = {
    "hf_good": ["acme/gated", "acme/secret"],
    "hf_other": [],
    "hf_member": Account(role="write", member_of=["acme"]),
    "hf_accepted": Account(requests={"acme/gated": "accepted"}),
    "hf_pending": Account(requests={"acme/gated": "pending"}),
    "hf_rejected": Account(requests={"acme/gated": "rejected"}),
    "hf_reset": Account(requests={"acme/gated": "reset"}),
    "hf_fine": GATED_READER,
    "hf_fine_without_gated": GATED_READER.model_copy(update={"can_read_gated_repos": False}),
    "hf_fine_member": Account(role="fineGrained", member_of=["acme"], scoped={"acme": ["repo.content.read"]}),
    "hf_fine_member_without_scope": Account(role="fineGrained", member_of=["acme"]),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, module_env):
    server = Hub(make_facts(make_models(tmp_path_factory.mktemp("models"))), ACCOUNTS)
    with serving(server) as url:
        yield url, server


@pytest.fixture(scope="module")
def module_env():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_HUB_DISABLE_XET", "1")
        yield


def api(hub, token=False):
    return hf.HfApi(endpoint=hub[0], token=token)


def test_model_info_tells_commit_sizes_and_digests(hub):
    info = api(hub).model_info("acme/tiny", files_metadata=True)
    (weights,) = [file for file in info.siblings if file.rfilename == "tiny.gguf"]
    assert (len(info.sha), weights.size, len(weights.lfs.sha256)) == (40, len(WEIGHTS), 64)


def test_the_tree_lists_every_file_recursively(hub):
    names = {entry.path for entry in api(hub).list_repo_tree("acme/sharded", recursive=True)}
    assert {"config.json", "original/consolidated.safetensors"} <= names


def test_a_large_file_is_redirected_and_arrives_whole(hub, tmp_path):
    path = hf.hf_hub_download("acme/tiny", "tiny.gguf", endpoint=hub[0], cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == WEIGHTS
    assert any(path.startswith("/cdn/") for _, path, _ in hub[1].requests)


def test_a_snapshot_of_a_pinned_commit_holds_every_file(hub, tmp_path):
    commit = api(hub).model_info("acme/sharded").sha
    folder = hf.snapshot_download("acme/sharded", revision=commit, endpoint=hub[0], cache_dir=tmp_path, token=False)
    assert commit in folder


def test_metadata_of_a_gated_repository_is_public_and_its_files_are_not(hub, tmp_path):
    assert api(hub).model_info("acme/gated").gated == "manual"
    with pytest.raises(errors.GatedRepoError):
        hf.hf_hub_download("acme/gated", "model.gguf", endpoint=hub[0], cache_dir=tmp_path, token=False)
    with pytest.raises(errors.GatedRepoError):
        api(hub, "hf_other").auth_check("acme/gated")
    api(hub, "hf_good").auth_check("acme/gated")


def test_missing_and_private_repositories_revisions_and_files_have_their_own_errors(hub, tmp_path):
    for repo in ("acme/none", "acme/secret"):
        with pytest.raises(errors.RepositoryNotFoundError):
            api(hub).model_info(repo)
    assert api(hub, "hf_good").model_info("acme/secret").private
    with pytest.raises(errors.RevisionNotFoundError):
        api(hub).model_info("acme/tiny", revision="v9")
    with pytest.raises(errors.EntryNotFoundError):
        hf.hf_hub_download("acme/tiny", "none.txt", endpoint=hub[0], cache_dir=tmp_path, token=False)


def test_an_unknown_token_is_refused(hub):
    with pytest.raises(errors.HfHubHTTPError, match="Invalid user token"):
        api(hub, "hf_bad").whoami()


NOT_ALLOWED = [
    ("anonymous", False, "acme/gated", "GatedRepoError", 401, "must have access to it and be authenticated"),
    ("no request", "hf_other", "acme/gated", "GatedRepoError", 403, "not in the authorized list"),
    ("a request that waits", "hf_pending", "acme/gated", "GatedRepoError", 403, "awaiting a review"),
    ("a request that was rejected", "hf_rejected", "acme/gated", "GatedRepoError", 403, "has been rejected"),
    ("an access that was reset", "hf_reset", "acme/gated", "GatedRepoError", 403, "has been reset"),
    ("a token without the right to gated ones", "hf_fine_without_gated", "acme/gated", "HfHubHTTPError", 403, "fine-grained token settings"),
    ("private, anonymous", False, "acme/secret", "RepositoryNotFoundError", 401, "Repository not found"),
    ("private, another account", "hf_other", "acme/secret", "RepositoryNotFoundError", 404, "Repository not found"),
    ("private, not in scope", "hf_fine_member_without_scope", "acme/secret", "RepositoryNotFoundError", 404, "Repository not found"),
    ("missing", "hf_member", "acme/none", "RepositoryNotFoundError", 404, "Repository not found"),
    ("disabled", "hf_member", "acme/disabled", "DisabledRepoError", 403, "Access to this resource is disabled."),
    ("an invalid token", "hf_bad", "acme/tiny", "HfHubHTTPError", 401, "Invalid credentials in Authorization header"),
]


def check(hub, token, repo):
    api(hub, token).auth_check(repo)


def ask_for_a_file(hub, token, repo):
    api(hub, token).get_hf_file_metadata(url=hf.hf_hub_url(repo, "model.gguf", endpoint=hub[0]))


@pytest.mark.parametrize("ask", [check, ask_for_a_file])
@pytest.mark.parametrize(("token", "repo", "kind", "status", "words"), [row[1:] for row in NOT_ALLOWED], ids=[row[0] for row in NOT_ALLOWED])
def test_each_refusal_is_told_apart_by_the_client(hub, ask, token, repo, kind, status, words):
    with pytest.raises(errors.HfHubHTTPError) as raised:
        ask(hub, token, repo)
    assert (type(raised.value).__name__, raised.value.response.status_code) == (kind, status)
    assert words in raised.value.response.headers["X-Error-Message"]


@pytest.mark.parametrize(
    ("token", "repo"),
    [
        (False, "acme/tiny"),
        ("hf_accepted", "acme/gated"),
        ("hf_fine", "acme/gated"),
        ("hf_member", "acme/gated"),
        ("hf_member", "acme/secret"),
        ("hf_fine_member", "acme/secret"),
    ],
)
def test_who_is_allowed_passes_the_check_and_reads_the_files(hub, token, repo):
    check(hub, token, repo)
    if repo != "acme/tiny":
        ask_for_a_file(hub, token, repo)


def test_whoami_tells_the_role_of_the_token(hub):
    roles = {token: api(hub, token).whoami()["auth"]["accessToken"]["role"] for token in ("hf_other", "hf_member", "hf_fine")}
    assert roles == {"hf_other": "read", "hf_member": "write", "hf_fine": "fineGrained"}


def test_whoami_tells_what_a_fine_grained_token_may_do(hub):
    assert api(hub, "hf_fine").whoami()["auth"]["accessToken"]["fineGrained"] == {"canReadGatedRepos": True, "global": [], "scoped": []}
    (scope,) = api(hub, "hf_fine_member").whoami()["auth"]["accessToken"]["fineGrained"]["scoped"]
    assert (scope["entity"]["type"], scope["entity"]["name"], scope["permissions"]) == ("org", "acme", ["repo.content.read"])


def test_whoami_names_the_account_and_its_organisations(hub):
    told = api(hub, "hf_fine_member").whoami()
    assert (told["type"], told["name"], [org["name"] for org in told["orgs"]]) == ("user", "tester", ["acme"])


def test_whoami_without_a_token_is_refused(hub):
    said = httpx.get(f"{hub[0]}/api/whoami-v2")
    assert (said.status_code, said.headers["X-Error-Message"]) == (401, "Invalid username or password.")


def test_model_info_tells_what_config_and_weights_say_of_the_model(hub):
    info = api(hub).model_info("acme/facts", files_metadata=True)
    assert info.safetensors.parameters == {"BF16": 64000, "F8_E4M3": 4096, "F32": 2} and info.safetensors.total == 68098
    assert (info.config["architectures"], info.pipeline_tag, info.card_data.license) == (["LlamaForCausalLM"], "text-generation", "llama3.1")
    assert "license:llama3.1" in info.tags and info.used_storage > 0
    assert api(hub).model_info("acme/quantised").gguf["architecture"] == "qwen3"


def test_the_client_reads_the_headers_of_safetensors(hub):
    header = api(hub).parse_safetensors_file_metadata("acme/facts", "model.safetensors")
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in header.tensors.items()} == TENSORS
    sharded = api(hub).get_safetensors_metadata("acme/shards")
    assert sharded.metadata["total_size"] == 256 and sharded.parameter_count == {"BF16": 128}


def test_a_repository_that_was_renamed_leads_to_its_new_name(hub, tmp_path):
    assert api(hub).model_info("acme/renamed").id == "acme/facts"
    path = hf.hf_hub_download("acme/renamed", "config.json", endpoint=hub[0], cache_dir=tmp_path, token=False)
    assert "LlamaForCausalLM" in Path(path).read_text()


@pytest.fixture
def mirror(hub):
    with serving(Hub(hub[1].root, ACCOUNTS, mirror=True)) as url:
        yield url, None


def test_a_mirror_serves_files_and_tells_little_else(mirror, tmp_path):
    info = api(mirror).model_info("acme/gated", files_metadata=True)
    assert (info.gated, info.private, info.siblings[0].size) == (None, None, None)
    for ask in ("/api/whoami-v2", "/api/models/acme/gated/auth-check", "/api/models/acme/none"):
        said = httpx.get(mirror[0] + ask)
        assert said.status_code in (401, 404) and not [name for name in said.headers if name.startswith("x-error")]
    assert httpx.get(f"{mirror[0]}/acme/gated/resolve/main/model.gguf").status_code == 401
    assert httpx.get(f"{mirror[0]}/acme/facts/resolve/main/config.json").status_code == 200
