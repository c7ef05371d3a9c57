"""Trivy let loose on a tree and on images, and held to find what was planted there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock import Artifact, Finding, Step, StepFailed

from penstock_trivy import command, judge, layout, report
from penstock_trivy.image import Image
from penstock_trivy.layout import Layout
from penstock_trivy.report import Report, Scanned
from penstock_trivy.running import run
from penstock_trivy.settings import KINDS, Kind, Trivy
from penstock_trivy.tree import Tree

# Trivy has no mode that knows both lock files and installed packages, so it looks at a tree twice.
_MODES: dict[str, tuple[Kind, ...]] = {"fs": KINDS, "rootfs": ("vulnerability", "license")}
# `fs` has no licence of its own to plant: it takes them from installed packages.
_PROVED_BY: dict[str, tuple[Kind, ...]] = {
    "fs": ("secret", "misconfiguration", "vulnerability"),
    "rootfs": ("vulnerability", "license"),
    "image": KINDS,
}


@dataclass
class Seen:
    """What was found, and what was not looked for where it might have been."""

    findings: list[Finding] = field(default_factory=list)
    reports: list[tuple[dict[str, Any], Scanned]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """One look at everything that a step is about."""

    settings: Trivy
    step: Step
    program: Path
    files: command.Files
    tree: Tree

    def everywhere(self) -> Seen:
        """Look at the tree, if there is anything in it, and at each image."""
        seen = Seen()
        if self.tree.files:
            for mode, can in _MODES.items():
                self._at_tree(mode, can, seen)
        for number, (image, skipped) in enumerate(self.tree.images):
            self._at_image(number, image, skipped, seen)
        return seen

    def bill_of_materials(self, seen: Seen) -> Artifact:
        """A CycloneDX document about all packages seen, kept in the store."""
        source = self.step.tmp / "packages.json"
        target = self.step.tmp / "sbom.cdx.json"
        source.write_text(json.dumps(self._packages(seen)))
        run(self.step, command.convert(self.program, source, target, self.files))
        try:
            document = json.loads(target.read_text())
            good = document["bomFormat"] == "CycloneDX"
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            good = False
        if not good:
            raise StepFailed(
                "trivy convert ended with 0, but made no CycloneDX document. Or set: sbom = false"
            )
        return self.step.keep(target, "sbom")

    def _packages(self, seen: Seen) -> dict[str, Any]:
        about = [scanned for _, scanned in seen.reports]
        if len(about) == 1 and isinstance(about[0], Layout):
            image = about[0].image
            found = report.merged(seen.reports, image.name)
            system = (seen.reports[0][0].get("Metadata") or {}).get("OS")
            return {**found, "Metadata": {**_known_by(image), **({"OS": system} if system else {})}}
        return report.merged(seen.reports, self.step.stamp.short)

    # --- a tree ---

    def _at_tree(self, mode: str, can: Sequence[Kind], seen: Seen) -> None:
        asked = tuple(kind for kind in can if kind in self.settings.scanners)
        if kinds := self._with_packages(asked):
            path = self.step.tmp / f"{mode}.json"
            run(self.step, command.scan(self.program, mode, kinds, self.tree.root, path, self.files))
            self._add(self._read(path, mode, kinds, self.tree), asked, self.tree, seen)

    def _with_packages(self, asked: tuple[Kind, ...]) -> tuple[Kind, ...]:
        # A bill of materials lists packages, which Trivy reads only for these kinds.
        more = self.settings.sbom and not {"vulnerability", "license"} & set(asked)
        return (*asked, "license") if more else asked

    # --- an image ---

    def _at_image(self, number: int, image: Image, skipped: Sequence[str], seen: Seen) -> None:
        step = self.step
        step.log(f"{image.name} is {image.digest or 'without a manifest'}, image ID {image.id}")
        for index, layer in enumerate(image.layers, 1):
            step.log(f"  layer {index}/{len(image.layers)} {layer.digest} {layer.made_by}".rstrip())
        shown = layout.write(image, step.tmp / f"image-{number}", f"penstock-canary-{secrets.token_hex(8)}")
        path = step.tmp / f"image-{number}.json"
        kinds = self._with_packages(self.settings.scanners)
        config = self.files.config_of(number, skipped)
        output = run(step, command.image(self.program, kinds, shown.path, path, self.files, config))
        parsed, raw = self._read(path, "image", kinds, shown)
        _check(parsed, shown, kinds, output)
        self._add((parsed, raw), self.settings.scanners, shown, seen)
        seen.left_out |= self._not_looked_for(parsed, image)

    def _not_looked_for(self, parsed: Report, image: Image) -> dict[str, str]:
        left: dict[str, str] = {}
        system, asked = parsed.metadata.system, self.settings.scanners
        if system is None and {"vulnerability", "license"} & set(asked):
            why = "not recognised: what it installed was not looked at, packages of languages were"
            left[f"operating system of {image.name}"] = why
        if system is not None and system.ended and "vulnerability" in asked:
            why = f"{system.family} {system.name} is past its end: newer ones are not on record any more"
            left[f"vulnerabilities of the operating system of {image.name}"] = why
        count = report.system_licenses(parsed) if "license" in asked else 0
        if count and not self.settings.system_licenses:
            why = f"of {count} packages they ask for more than to be named (system_licenses = false)"
            left[f"licences of the operating system of {image.name}"] = why
        return left

    # --- a report ---

    def _read(
        self, path: Path, mode: str, kinds: Sequence[Kind], scanned: Scanned
    ) -> tuple[Report, dict[str, Any]]:
        if not path.is_file():
            raise StepFailed(f"trivy {mode} ended with 0, but wrote no report; the gate stays shut")
        parsed, raw = report.read(path.read_text(errors="replace"), mode)
        proved = tuple(kind for kind in _PROVED_BY[mode] if kind in kinds)
        if silent := report.silent(parsed, proved, scanned):
            raise StepFailed(_blind(mode, " and ".join(silent)))
        return parsed, raw

    def _add(
        self, made: tuple[Report, dict[str, Any]], asked: Sequence[Kind], scanned: Scanned, seen: Seen
    ) -> None:
        parsed, raw = made
        seen.reports.append((raw, scanned))
        found = report.findings(
            parsed,
            scanned,
            self.settings.unknown_counts_as,
            judge.forbids(self.settings.license_forbidden),
            system_licenses=self.settings.system_licenses,
        )
        seen.findings += [finding for finding in found if finding.kind in asked]


def _blind(mode: str, what: str) -> str:
    return (
        f"trivy {mode} ended with 0, but didn't find the {what} that was planted to "
        "test it, so what else it misses is not known; the gate stays shut. Use a Trivy that this "
        "plugin knows (0.70 to 0.76)"
    )


def _check(parsed: Report, shown: Layout, kinds: Sequence[Kind], output: str) -> None:
    """See that Trivy has looked at every layer of the image, and at its configuration."""
    if tuple(parsed.metadata.diff_ids or ()) != shown.diff_ids:
        raise StepFailed(
            f"trivy image ended with 0, but doesn't say that it looked at all layers of {shown.image.name}; "
            "the gate stays shut. Use a Trivy that this plugin knows (0.70 to 0.76)"
        )
    planted = [result for result in parsed.results if shown.planted(result.target)]
    layers = {secret.layer.diff_id for result in planted for secret in result.secrets or ()}
    if "secret" in kinds and not {shown.diff_ids[0], shown.diff_ids[-1]} <= layers:
        raise StepFailed(_blind("image", "secret in the lowest layer"))
    said = [wrong.message for result in parsed.results for wrong in result.misconfigurations or ()]
    if "misconfiguration" in kinds and not any(shown.mentions(text) for text in said):
        why = next((line for line in output.splitlines() if "Failed to parse" in line), "")
        raise StepFailed(
            f"trivy image ended with 0, but couldn't check the configuration of {shown.image.name}"
            f"{': ' + why.rpartition('err=')[2].strip() if why else ''}; the gate stays shut. Or leave "
            'misconfigurations out: scanners = ["vulnerability", "secret", "license"]'
        )


def _known_by(image: Image) -> dict[str, Any]:
    """What a bill of materials says of the image: its own digests, and not those of what Trivy was shown."""
    known = {"ImageID": image.id, "DiffIDs": [layer.diff_id for layer in image.layers]}
    return {**known, "RepoDigests": [f"{image.name}@{image.digest}"]} if image.digest else known
