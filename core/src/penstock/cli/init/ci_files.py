"""What `init --ci` writes. `@WORDS@` are filled in; a line that ends in `#?` belongs to one case alone.

Exit code 3 means that the run waits for a person: such a job has done its work, and says so.
"""

from __future__ import annotations

# Gitea's runner has the artifact API that version 3 speaks, and not the next one's.
VERSIONS = {
    "github": {"CHECKOUT": "v6", "SETUP": "v6", "CACHE": "v5", "UPLOAD": "v5"},
    "gitea": {"CHECKOUT": "v4", "SETUP": "v5", "CACHE": "v4", "UPLOAD": "v3"},
}

ACTIONS = """\
# Runs the pipeline of penstock.toml. Written by `penstock init --ci @PLATFORM@`; it is yours to change.
name: penstock

on:
  push:
  pull_request:

permissions:
  contents: read
  security-events: write  # to show what scans found  #?github

concurrency:  # one run of a branch at a time: they share what is kept in .penstock
  group: penstock-${{ github.ref }}

jobs:
  penstock:
    runs-on: ubuntu-latest
    defaults:  #?inner
      run:  #?inner
        working-directory: @PREFIX@  #?inner
    steps:
      - uses: actions/checkout@@CHECKOUT@
        with:
          fetch-depth: 0  # all commits and tags: versions are made from them

      - uses: actions/setup-python@@SETUP@
        with:
          python-version: "@PYTHON@"

      - name: Install Penstock and the project's plugins
        run: python -m pip install @INSTALL@

      - name: Take up what earlier runs left
        uses: actions/cache/restore@@CACHE@
        with:
          path: |
            @PREFIX@.penstock
            !@PREFIX@.penstock/workspaces
          key: penstock-${{ github.run_id }}-${{ github.run_attempt }}
          restore-keys: penstock-

      - name: Run the pipeline
        env:
          BRANCH: ${{ github.ref }}
          DEPLOYS: refs/heads/${{ github.event.repository.default_branch }}
        run: |
          code=0
          if [ "$BRANCH" = "$DEPLOYS" ]; then
            penstock run || code=$?
          else
            penstock run --no-deploy || code=$?
          fi
          if [ "$code" != 2 ]; then
            penstock report --junit reports/junit.xml --sarif reports/scan.sarif || true
            { echo '```text'; penstock show; echo '```'; } >> "$GITHUB_STEP_SUMMARY" || true
          fi
          if [ "$code" = 3 ]; then
            echo "::notice title=Penstock waits::The run waits for an approval, and has not failed."
            code=0
          fi
          exit "$code"

      - name: Keep what this run leaves
        if: ${{ !cancelled() }}
        uses: actions/cache/save@@CACHE@
        with:
          path: |
            @PREFIX@.penstock
            !@PREFIX@.penstock/workspaces
          key: penstock-${{ github.run_id }}-${{ github.run_attempt }}

      - name: Upload the reports
        if: ${{ !cancelled() }}
        uses: actions/upload-artifact@@UPLOAD@
        with:
          name: penstock-reports
          path: @PREFIX@reports/
          if-no-files-found: ignore

      - name: Show what scans found  #?github
        if: ${{ !cancelled() && hashFiles('@PREFIX@reports/scan.sarif') != '' }}  #?github
        continue-on-error: true  # code scanning may be off for this repository  #?github
        uses: github/codeql-action/upload-sarif@v4  #?github
        with:  #?github
          sarif_file: @PREFIX@reports/scan.sarif  #?github
"""

GITLAB = """\
# Runs the pipeline of penstock.toml. Written by `penstock init --ci gitlab`; it is yours to change.
penstock:
  image: python:@PYTHON@
  variables:
    GIT_DEPTH: "0"  # all commits and tags: versions are made from them
  resource_group: penstock-$CI_COMMIT_REF_SLUG  # one run of a branch at a time: they share .penstock
  cache:
    key: penstock-$CI_COMMIT_REF_SLUG
    fallback_keys:
      - penstock-$CI_DEFAULT_BRANCH
    when: always
    paths:
      - @PREFIX@.penstock/
  before_script:
    - python -m pip install @INSTALL@
    - cd @PREFIX@  #?inner
  script:
    - |
      code=0
      if [ "$CI_COMMIT_BRANCH" = "$CI_DEFAULT_BRANCH" ]; then
        penstock run || code=$?
      else
        penstock run --no-deploy || code=$?
      fi
      if [ "$code" != 2 ]; then
        penstock report --junit reports/junit.xml --sarif reports/scan.sarif || true
      fi
      exit "$code"
  after_script:
    - rm -rf @PREFIX@.penstock/workspaces  # made anew in each run, and not worth a place in the cache
  allow_failure:
    exit_codes: 3  # the run waits for an approval: shown as a warning, not as a failure
  artifacts:
    when: always
    paths:
      - @PREFIX@reports/
    reports:
      junit: @PREFIX@reports/junit.xml
"""
