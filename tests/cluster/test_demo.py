"""The README's demo, as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess

from hack.tools import REPO


def make(*targets: str) -> str:
    done = subprocess.run(["make", *targets], cwd=REPO, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_make_demo_shows_a_model_that_answers_and_endpoints_that_say_why_they_failed(installation):
    said = make("demo")
    assert re.search(r"gemma +up +AllReady", said) and "Paris" in said
    for name, reason in (
        ("typo", "ModelNotFound"),
        ("wrong-image", "ImagePullFailed"),
        ("wrong-flag", "BadEngineArgument"),
        ("too-many-gpus", "NoCapacity"),
    ):
        assert re.search(rf"{name} +failed +{reason}", said), said
    print(re.findall(r"--- done in .*", said)[0])
    make("clean-demo")
    assert (
        "No resources found"
        in subprocess.run(
            [installation_tool(), f"--kubeconfig={make('-s', 'kubeconfig').strip()}", "get", "deployments", "--namespace=dedicated-system"],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    )


def installation_tool() -> str:
    from hack.cluster import tools

    return str(tools.path("kubectl"))
