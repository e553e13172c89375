"""The commands in the documentation do what it says, against the local stack."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.launch.layout import ROOT, aws_environment
from tests.local_stack import LocalStack

pytestmark = pytest.mark.integration
_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Documents whose calls of the API can be run as they stand.
_CALLS = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            *"brakes budgets cache local model-choice requests".split(),
            *"sagemaker-openai token-backends trimming usage".split(),
        )
    ),
)
_GUIDES = ("README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))))


# A JSON body over several lines.
_QUOTED = re.compile(r"-d '[^']*'")


def _on_one_line(quoted: re.Match[str]) -> str:
    return quoted.group().replace("\n", " ")


def _commands(document: str) -> Iterator[str]:
    """The commands in the code blocks of a document, continued lines put together, comments left out."""
    for block in _FENCE.findall((ROOT / document).read_text()):
        for line in _QUOTED.sub(_on_one_line, block.replace("\\\n", " ")).splitlines():
            if line.strip() and not line.startswith("#"):
                yield line.strip()


# The stand-in's own switches answer in its own words; tests/integration/sagemaker_standin has them.
CURLS = [
    (document, line)
    for document in _CALLS
    for line in _commands(document)
    if line.startswith("curl ") and "/_standin/" not in line
]


def _asked(command: str, local_stack: LocalStack) -> str:
    """What a documented call prints, with the two variables that `make run` prints."""
    assert shutil.which("curl"), "curl is not installed"
    done = subprocess.run(  # noqa: S603 -- the repository's own documents
        ["/bin/sh", "-c", command],
        env={**os.environ, "TOLLGATE_URL": local_stack.url, "TOLLGATE_KEY": local_stack.key},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout


@pytest.mark.parametrize(("document", "command"), CURLS, ids=[f"{d}-{n}" for n, (d, _) in enumerate(CURLS)])
def test_a_documented_call_succeeds(document: str, command: str, local_stack: LocalStack) -> None:
    """Copied and pasted it gets an answer and no error."""
    printed = _asked(command, local_stack)
    # With -i the head comes first; text mode has made one line end of its two characters.
    answer = json.loads(printed.partition("\n\n")[2] if "curl -si " in command else printed)
    assert "error" not in answer or answer["error"] is None, f"{document}: {printed}"
    assert "object" in answer


def test_the_readme_shows_what_really_comes_back(local_stack: LocalStack) -> None:
    """Status line, headers and fields under its first call are those of the answer; only the values differ."""
    head, shown = re.findall(r"```(?:http|json)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    printed, _, body = _asked(CURLS[0][1], local_stack).partition("\n\n")
    status, *headers = head.splitlines()
    assert printed.splitlines()[0] == status
    names = {line.partition(":")[0].lower() for line in printed.splitlines()[1:]}
    assert {line.partition(":")[0] for line in headers} <= names
    answer = json.loads(body)
    for part in ("output", "usage", "cost"):
        assert json.loads(shown)[part].keys() == answer[part].keys()
    assert json.loads(shown).keys() <= answer.keys()


def test_the_readme_has_a_call_for_each_road() -> None:
    """Its calls are found at all."""
    text = " ".join(command for document, command in CURLS if document == "README.md")
    assert all(f'"priority": "{priority}"' in text for priority in ("high", "medium", "low"))


TOLLGATE = sorted({line for document in _GUIDES for line in _commands(document) if line.startswith("./tollgate ")})


# The stack has no such key, no deployment that may sleep, no brakes, no price list, and nothing that runs for nobody.
_KNOWN_REFUSALS = (
    "There is no such key",
    "no sleep policy",
    "Not among the orphans",
    "has no [brakes]",
    "Nothing is pending",
    "is not complete yet",  # of the day that the guide names, on a stack that is minutes old
    "The price list cannot be read",
)


def _told(stderr: str) -> str:
    """What a command complained of: a new key's id is no complaint."""
    return re.sub(r"^\S+ is the id of this key, for budgets and logs\.\n", "", stderr)


@pytest.mark.parametrize("command", TOLLGATE)
def test_a_documented_tollgate_command_is_understood(command: str, local_stack: LocalStack, tmp_path: Path) -> None:
    """It runs against the stack; where it speaks of a key or version that is not there, it says just that."""
    line = re.sub(r"rollback \S+", "rollback 1", command.partition("#")[0]).replace("tg_...", "tg_nobody")
    # Other tests share this stack: the catalogue stays what it was.
    line = re.sub(r"apply models.toml( --overlay \S+)?", "apply models.toml --overlay local/models.local.toml", line)
    # Files that a command writes go elsewhere than into the checkout.
    line = re.sub(r"--(picture|output) (\S+)", rf"--\1 {tmp_path}/\2", line)
    done = subprocess.run(  # noqa: S603 -- the repository's own documents
        ["/bin/sh", "-c", line],
        cwd=ROOT,
        env={**os.environ, **aws_environment(local_stack.layout)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert not (told := _told(done.stderr)) or any(words in told for words in _KNOWN_REFUSALS), told
    assert done.stdout or done.stderr


MAKE = sorted(
    {
        target
        for document in _GUIDES
        for target in re.findall(r"(?:^|`)make ([a-z0-9-]+)", (ROOT / document).read_text(), re.MULTILINE)
    }
)


def test_documented_make_targets_exist() -> None:
    """Each `make something` in a guide is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z0-9-]+(?: [a-z0-9-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test"} <= set(MAKE) <= {name for line in targets for name in line.split()}


LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
_DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
)


def _anchors(document: Path) -> set[str]:
    """Where links into a document may lead: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """A reader meets no dead end, neither a missing file nor a heading that was renamed."""
    here = ROOT / document
    for link, anchor in LINK.findall(here.read_text()):
        target = here.parent / link if link else here
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), f"{link}#{anchor}"
