"""The hosted workflow holds nobody's code or credentials by mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).parents[1] / ".github" / "workflows"

pytestmark = pytest.mark.skipif(not WORKFLOWS.is_dir(), reason="the tests lie beside no checkout")


@pytest.fixture
def workflow() -> str:
    return (WORKFLOWS / "wheels.yml").read_text(encoding="utf-8")


def jobs_of(workflow: str) -> dict[str, str]:
    """The text of each job, by its name."""
    _, name, *rest = re.split(r"^  ([a-z]+):\n(?=    )", workflow.split("\njobs:\n")[1], flags=re.M)
    return dict(zip([name, *rest[1::2]], rest[::2], strict=True))


def test_actions_are_pinned_by_hash(workflow: str) -> None:
    actions = re.findall(r"uses: (.*)", workflow)
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)
    assert len(set(actions)) == len({action.split("@")[0] for action in actions})


def test_a_checkout_leaves_no_credentials(workflow: str) -> None:
    checkouts = re.findall(r"uses: actions/checkout@.*\n(?: +with:\n +(.*)\n)?", workflow)
    assert checkouts
    assert set(checkouts) == {"persist-credentials: false"}


def test_only_publishing_may_do_more_than_read(workflow: str) -> None:
    jobs = jobs_of(workflow)
    assert set(jobs) == {"build", "test", "alpine", "source", "publish"}
    assert "\npermissions: {}\n" in workflow.split("\njobs:\n")[0]
    for name, job in jobs.items():
        written = re.findall(r"([\w-]+): write", job)
        assert written == (["id-token"] if name == "publish" else [])


def test_publishing_waits_for_a_tag_and_for_every_test(workflow: str) -> None:
    jobs = jobs_of(workflow)
    publish = jobs.pop("publish")
    assert f"needs: [{', '.join(jobs)}]\n" in publish
    assert "if: github.event_name == 'push' && github.ref_type == 'tag'\n" in publish
    assert "attestations: true\n" in publish
    assert "secrets." not in workflow
