"""The `http` plugin: asks what was deployed whether it answers, with which status and body, and how soon."""

from __future__ import annotations

from penstock import Step, Verification, hookimpl

from penstock_http.settings import Http

PENSTOCK_API = 1


@hookimpl
def penstock_verify(settings: Http, step: Step) -> Verification:
    """Ask as often, or for as long, as the section says; every question is a check."""
    # What speaks HTTP and TLS is dear to import, and most commands only need the settings.
    from penstock_http.verify import verify

    return verify(settings, step)
