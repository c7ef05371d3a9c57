"""The version of a revision, for projects that take theirs from git.

The snapshot that a step works on has no history, so the version is worked out of what the revision is
known by, by setuptools-scm's default rule, and handed to the build in the environment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from penstock.model import Revision

_SCM = "SETUPTOOLS_SCM_PRETEND_VERSION"
# Where a version may begin in a tag: "v1.2", "shop-1.2", "release/v1.2", "shop@1.2".
_START = re.compile(r"(?:^|(?<=[-_/@]))[vV]?(?=\d)")

PREFIXES = (
    _SCM,
    "PDM_BUILD_SCM_VERSION",
    "PBR_VERSION",
    "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "UV_DYNAMIC_VERSIONING_BYPASS",
)
"""How the names of all variables begin that a version can be handed over in."""

_VARIABLES = {
    # The general variable is also seen by every build requirement that is itself built from source, so it
    # is used only where a tool doesn't tell setuptools-scm the project's name.
    "hatch-vcs": _SCM,
    "flit-scm": _SCM,
    "pdm-backend": "PDM_BUILD_SCM_VERSION",
    "pdm-pep517": "PDM_BUILD_SCM_VERSION",
    "pbr": "PBR_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "uv-dynamic-versioning": "UV_DYNAMIC_VERSIONING_BYPASS",
}

DEAF = frozenset({"versioneer", "versioningit", "setuptools-git-versioning", "dunamai"})
"""Tools that ask git and nothing else."""


def tag_version(tag: str) -> Version | None:
    """The version that a tag names, if it names one."""
    for match in _START.finditer(tag):
        try:
            return Version(tag[match.end() :])
        except InvalidVersion:
            continue
    return None


def of_revision(revision: Revision) -> str | None:
    """The version of a revision; None where its tag names none.

    The tag's own on the tag. Behind it, the next one's `.devN+gCOMMIT`, N being the commits since the tag.
    Files that are not committed add `.dirty`.
    """
    if revision.tag is None:
        return f"0.1.dev{revision.distance}{_local(revision)}"
    tagged = tag_version(revision.tag)
    if tagged is None:
        return None
    if revision.distance == 0 and not revision.dirty:
        return str(tagged)
    return f"{_next(tagged, revision.distance)}{_local(revision)}"


def variables(tools: Collection[str], name: str | None, version: str) -> dict[str, str]:
    """The environment variables that hand a version to these tools, in the project of this name."""
    handed = {_VARIABLES[tool]: version for tool in sorted(tools) if tool in _VARIABLES}
    if "setuptools-scm" in tools and _SCM not in handed:
        handed[f"{_SCM}_FOR_{_upper(name)}" if name else _SCM] = version
    return handed


def unclaimed(handed: Mapping[str, str], present: Collection[str]) -> dict[str, str]:
    """Those variables of which the user has set neither the same nor a sibling (`…_FOR_NAME` and general)."""

    def claimed(name: str) -> bool:
        prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
        return any(other.startswith(prefix) for other in present)

    return {name: value for name, value in handed.items() if not claimed(name)}


def _next(version: Version, distance: int) -> str:
    if version.dev is not None:
        return f"{version.public.rpartition('.dev')[0]}.dev{version.dev + distance}"
    head, last = re.fullmatch(r"(.*?)(\d+)", version.public, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{head}{int(last) + 1}.dev{distance}"


def _local(revision: Revision) -> str:
    parts = [f"g{revision.commit[:7]}"] if revision.commit else []
    if revision.dirty:
        parts.append("dirty")
    return f"+{'.'.join(parts)}" if parts else ""


def _upper(name: str) -> str:
    return canonicalize_name(name).upper().replace("-", "_")
