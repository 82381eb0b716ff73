"""Hold what is installed against the lock, and the lock against the advisories of osv.dev.

Exit code 1: something is vulnerable, or not what the lock says. 2: the advisory service does not answer, so that
nothing is known; with --lenient that is said, and is no failure.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
GOOD, BAD, UNKNOWN = 0, 1, 2


def main() -> int:
    """Audit, tell, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenient", action="store_true", help="let it pass that the advisory service is away")
    lenient = parser.parse_args().lenient
    code = compare(LOCKS[1])
    for lock in LOCKS if code == GOOD else ():
        known = run("pip-audit", "--vulnerability-service=osv", "--disable-pip", "--format=json", "-r", lock)
        told, code = verdict(lock, known.stdout, known.stderr)
        print(told)
        if code != GOOD:
            break
    return GOOD if lenient and code == UNKNOWN else code


def run(tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of the environment; the hashes of a lock are always needed."""
    return subprocess.run(
        [BIN / tool, *words, "--require-hashes"], cwd=ROOT, capture_output=True, text=True, check=False
    )


def compare(lock: str) -> int:
    """Return whether every package is installed as the lock says: by version, and by hash when it was installed."""
    told = run("uv", "pip", "install", "--dry-run", "--offline", "--python", sys.executable, "-r", lock)
    if told.returncode == 0 and "Would make no changes" in told.stderr:
        print(f"{lock}: what is installed is what it says.")
        return GOOD
    print(f"{lock}: what is installed is something else.\n{told.stderr}")
    return BAD


def verdict(lock: str, found: str, complaint: str) -> tuple[str, int]:
    """Return what pip-audit's answer means: in words, and as an exit code."""
    try:
        packages = json.loads(found)["dependencies"]
    except ValueError:
        reason = complaint.strip().rpartition("\n")[2]
        return f"{lock}: ADVISORY SERVICE UNREACHABLE, nothing was audited.\n  {reason}", UNKNOWN
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    bad = [
        f"  {package['name']} {package['version']}: {hole['id']}, mended in {hole['fix_versions'] or 'nothing yet'}"
        for package in packages
        for hole in package.get("vulns", [])
    ]
    if bad:
        return "\n".join([f"{lock}: known vulnerabilities.", *bad]), BAD
    if skipped:
        return f"{lock}: ADVISORY SERVICE INCOMPLETE, not audited: {', '.join(skipped)}", UNKNOWN
    return f"{lock}: {len(packages)} packages, no known vulnerability.", GOOD


if __name__ == "__main__":
    sys.exit(main())
