"""Checks of every file in the repository: no machine's paths, no package index's host names, no secrets."""

import argparse
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir
from pathlib import Path

from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings

ROOT = Path(__file__).resolve().parents[1]
# Folders of a particular machine or person, and hosts of package indexes: a checkout must work anywhere. The patterns
# are written so that they do not find themselves.
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.$}~/])/(?:w[o]rk|r[o]ot|h[o]me/\w+|U[s]ers/\w+|t[m]p)(?:/|\b)")
INDEX_HOST = re.compile(r"p[y]pi\.org|p[y]thonhosted\.org|registry\.n[p]mjs")
# Pinned files are full of hashes, which a search for random-looking words would report by the thousand.
NOT_SCANNED_FOR_SECRETS = re.compile(
    r"^(?:requirements/.*\.txt|layers/tollgate/requirements\.txt|\.secrets\.baseline)$"
)
BASELINE = ".secrets.baseline"
# Detectors that only guess, from how random a word looks, what stands before it, or where a colon is (ARNs have many).
GUESSES = frozenset(
    {
        "Base64 High Entropy String",
        "Basic Auth Credentials",
        "Hex High Entropy String",
        "Secret Keyword",
        "Telegram Bot Token",
    }
)


def machine_words(name: str, text: str) -> Iterator[str]:
    """A line of report for each line of the file that names a machine's folder or an index's host."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, what in ((MACHINE_PATH, "a path of one machine"), (INDEX_HOST, "a package index's host")):
            if pattern.search(line):
                yield f"{name}:{number}: names {what}: {line.strip()[:100]}"


def tracked_files(root: Path) -> list[str]:
    """The names of all files under version control, and of new ones that are not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git from PATH, as in make
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in set(listing.stdout.split("\0")) if name and (root / name).is_file())


def read_text(path: Path) -> str:
    """The file's text; empty for a binary file."""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode(errors="replace")


def find_secrets(names: Iterable[str]) -> SecretsCollection:
    """What detect-secrets finds in the files, without the made-up keys and digests that tests are full of.

    Args:
        names: The files, relative to the current folder.
    """
    found = SecretsCollection()
    with default_settings():
        for name in names:
            if not NOT_SCANNED_FOR_SECRETS.match(name):
                found.scan_file(name)
    kept = SecretsCollection()
    for name, secret in found:
        if not (name.startswith(("tests/", "events/")) and secret.type in GUESSES):
            kept[name].add(secret)
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the whole repository; the exit code is 0 when there is nothing to report."""
    parser = argparse.ArgumentParser(prog="python -m local.repository_checks", description="Check every tracked file.")
    parser.add_argument("--accept", action="store_true", help="write what looks like a secret now into the baseline")
    accept = parser.parse_args(arguments).accept
    names = tracked_files(ROOT)
    with chdir(ROOT):
        found = find_secrets(names)
    if accept:
        baseline.save_to_file(found, str(ROOT / BASELINE))
        print(f"Wrote {BASELINE}: read its change before you commit it.")
        return 0
    reports = [report for name in names for report in machine_words(name, read_text(ROOT / name))]
    fresh = found - baseline.load(baseline.load_from_file(str(ROOT / BASELINE)))
    reports += [f"{name}:{secret.line_number}: looks like a secret ({secret.type})" for name, secret in fresh]
    print("\n".join(sorted(reports)) or "No machine paths, no index hosts, no secrets.")
    if any(True for _ in fresh):
        print("If it is none: make accept-secrets, and commit .secrets.baseline.")
    return 1 if reports else 0


if __name__ == "__main__":
    raise SystemExit(main())
