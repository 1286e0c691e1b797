"""Compare an SBOM with a lock: compare_sbom.py SBOM LOCK. Another tool than its author reads it."""

from __future__ import annotations

import sys
from pathlib import Path

from lib4sbom.parser import SBOMParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def in_sbom(path: Path) -> set[tuple[str, str]]:
    """The packages that it lists, without Sésame itself."""
    parser = SBOMParser()
    parser.parse_file(str(path))
    found = {(canonicalize_name(each["name"]), each["version"]) for each in parser.get_packages()}
    return {(name, version) for name, version in found if name != "sesame"}


def in_lock(path: Path) -> set[tuple[str, str]]:
    """The packages that it pins."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.removesuffix("\\").strip()) for line in lines if line[:1].isalnum()]
    return {(canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")) for pin in pins}


def main() -> int:
    """Say what only one of them has. Return 1 if there is anything."""
    sbom, lock = in_sbom(Path(sys.argv[1])), in_lock(Path(sys.argv[2]))
    for name, version in sorted(sbom ^ lock):
        where = "the SBOM" if (name, version) in sbom else "the lock"
        print(f"{name} {version} is in {where} only", file=sys.stderr)
    return int(sbom != lock or not lock)


if __name__ == "__main__":
    raise SystemExit(main())
