"""Settings → Trivy's command lines and configuration files. Pure, but for writing those files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SCANNER = {
    "vulnerability": "vuln",
    "secret": "secret",
    "misconfiguration": "misconfig",
    "license": "license",
}

_OF_CONFIGURATION = ("secret", "misconfiguration")

# Trivy's own reasons to look away. They suit images full of other people's files, not what a project ships.
_ALLOW_RULES = (
    *("dist-info", "tests", "examples", "vendor", "usr-dirs", "locale-dir", "markdown", "node.js"),
    *("golang", "python", "rubygems", "wordpress", "anaconda-log"),
)

_GLOB = re.compile(r"[*?\[\]{}!\\]")
_CREDENTIALS = ("TRIVY_USERNAME", "TRIVY_PASSWORD", "TRIVY_REGISTRY_TOKEN")

_CLEAN = """
for name in $(env | sed -n 's/^\\(TRIVY_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
  case " $KEEP " in *" $name "*) ;; *) unset "$name" ;; esac
done
unset KEEP
exec "$@" 2>&1
"""


@dataclass(frozen=True)
class Files:
    """Files of ours that stand in for those that Trivy would otherwise look for."""

    directory: Path

    @property
    def config(self) -> Path:
        """Instead of `trivy.yaml`."""
        return self.directory / "trivy.json"

    @property
    def ignore(self) -> Path:
        """Instead of `.trivyignore`."""
        return self.directory / "ignore"

    @property
    def secrets(self) -> Path:
        """Instead of `trivy-secret.yaml`."""
        return self.directory / "secret.json"

    @property
    def modules(self) -> Path:
        """Instead of the user's own modules, which may change results."""
        return self.directory / "modules"

    @property
    def cache(self) -> Path:
        """Instead of the user's cache, whose checks may differ from the program's own."""
        return self.directory / "cache"

    def config_of(self, number: int, skipped: Sequence[str]) -> Path:
        """The same for one image, of which some files are left out."""
        path = self.directory / f"image-{number}.json"
        literal = [_GLOB.sub(r"\\\g<0>", name) for name in dict.fromkeys(skipped)]
        path.write_text(json.dumps({"scan": {"skip-files": literal}} if literal else {}))
        return path

    def write(self) -> None:
        """Make them all."""
        self.modules.mkdir(parents=True)
        self.cache.mkdir()
        self.config.write_text("{}")
        self.ignore.write_text("")
        self.secrets.write_text(json.dumps(secret_config()))


def secret_config() -> dict[str, object]:
    """Look for secrets in every file, whatever its path; keep what Trivy knows of example keys."""
    return {
        "disable-allow-rules": list(_ALLOW_RULES),
        "allow-rules": [{"id": "says-example", "description": "says that it is one", "regex": "(?i)example"}],
        "skip-patterns": [],
    }


def clean(argv: Sequence[str | Path], *, credentials: bool = False) -> list[str]:
    """The same without Trivy's settings from the environment, and with its messages on standard output."""
    keep = " ".join(_CREDENTIALS) if credentials else ""
    return ["sh", "-c", f"KEEP='{keep}'{_CLEAN}", "sh", *map(str, argv)]


def scan(program: Path, mode: str, kinds: Sequence[str], tree: Path, report: Path, files: Files) -> list[str]:
    """Scan a tree without any network; `fs` knows lock files, `rootfs` knows installed packages."""
    return [*_scan(program, mode, kinds, report, files, files.config), str(tree)]


def image(
    program: Path, kinds: Sequence[str], layout: Path, report: Path, files: Files, config: Path
) -> list[str]:
    """Scan an image in an OCI layout, without any network and any engine."""
    inner = ",".join(_SCANNER[kind] for kind in kinds if kind in _OF_CONFIGURATION)
    return [
        *_scan(program, "image", kinds, report, files, config),
        *(("--image-config-scanners", inner) if inner else ()),
        *("--input", str(layout)),
    ]


def _scan(
    program: Path, mode: str, kinds: Sequence[str], report: Path, files: Files, config: Path
) -> list[str]:
    return [
        *(str(program), mode, "--config", str(config), "--cache-dir", str(files.cache)),
        *("--scanners", ",".join(_SCANNER[kind] for kind in kinds)),
        *("--format", "json", "--output", str(report), "--exit-code", "0", "--list-all-pkgs"),
        *("--severity", "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL", "--no-progress"),
        *("--ignorefile", str(files.ignore), "--secret-config", str(files.secrets)),
        *("--module-dir", str(files.modules), "--cache-backend", "memory", "--timeout", "24h"),
        *("--skip-db-update", "--skip-java-db-update", "--skip-check-update", "--skip-vex-repo-update"),
        *("--skip-version-check", "--disable-telemetry", "--offline-scan"),
    ]


def convert(program: Path, report: Path, sbom: Path, files: Files) -> list[str]:
    """Make a bill of materials out of a report."""
    return [
        *(str(program), "convert", "--config", str(files.config), "--cache-dir", str(files.cache)),
        *("--ignorefile", str(files.ignore), "--format", "cyclonedx", "--output", str(sbom), str(report)),
    ]


def fetch(program: Path, directory: Path, repository: str | None, files: Files) -> list[str]:
    """Fetch the vulnerability database where it is missing or its next one is due."""
    return [
        *(str(program), "filesystem", "--download-db-only", "--config", str(files.config)),
        *("--cache-dir", str(directory), "--module-dir", str(files.modules), "--no-progress"),
        *("--skip-version-check", "--disable-telemetry", "--timeout", "24h"),
        *(("--db-repository", repository) if repository else ()),
    ]
