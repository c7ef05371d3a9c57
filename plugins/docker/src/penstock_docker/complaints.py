"""What engines, registries and ssh complain of, each with what to do about it."""

from __future__ import annotations

from docker.errors import APIError

_SPACE = "Make room on its disk: docker system df, docker system prune"
_TLS = "Name the certificates that it trusts: tls = { ca = …, cert = …, key = … }"

_OF_ENGINES = (
    (("no space left on device", "not enough space", "disk quota exceeded"), _SPACE),
    (
        ("address already in use", "port is already allocated"),
        "Stop what listens there (ss -ltnp shows it), or publish another port: ports",
    ),
    (
        ("executable file not found", "exec format error", "no such file or directory: unknown"),
        "Look at `command`, at the image's own, and at which processor it was built for",
    ),
    (
        ("server gave HTTP response to HTTPS client",),
        "Have that engine trust the registry (insecure-registries in its daemon.json), or have the image "
        "come out of Penstock's store: leave out `repository`",
    ),
    (("x509:", "certificate"), "Have that engine trust the registry's authority: /etc/docker/certs.d"),
    (
        ("unauthorized", "no basic auth", "authentication required", "denied"),
        "Log in, where Penstock runs, with an account that may pull: docker login",
    ),
    (
        ("manifest unknown", "manifest for", "not found: manifest", "name unknown"),
        "Put it there: the build step does, where it has the same `repository`",
    ),
    (
        (
            "verification failed",
            "invalid checksum",
            "unexpected commit digest",
            "failed size",
        ),
        "What the registry serves is not what was put there. Put it there again by running the build step, "
        "and look for who changed it",
    ),
    (
        ("connection refused", "i/o timeout", "no such host", "deadline exceeded", "EOF", "connection reset"),
        "See from that host whether the registry answers, and run it again; or have the image come out of "
        "Penstock's store: leave out `repository`",
    ),
    (("permission denied", "operation not permitted"), "Look at who may do that on the host"),
)

_OF_CONNECTIONS = (
    (
        ("No such file or directory",),
        "there is no such socket. Start it (systemctl start docker), or say where it is: DOCKER_HOST",
    ),
    (
        ("Host key verification failed", "authenticity of host"),
        "ssh does not know the host's key. Compare it, and note it: ssh-keyscan HOST >> ~/.ssh/known_hosts",
    ),
    (
        ("Permission denied (",),
        "ssh is let in with none of the keys here. Put the public one into the host's ~/.ssh/authorized_keys",
    ),
    (("Could not resolve hostname", "Name or service not known"), "no host has that name"),
    (
        ("docker: not found", "docker: command not found", "docker: No such file"),
        "the host has no docker program, which ssh:// needs there. Install it",
    ),
    (
        ("Cannot connect to the Docker daemon", "failed to connect to the docker API"),
        "ssh gets there, and no engine answers. Start it (systemctl start docker)",
    ),
    (
        ("permission denied", "PermissionError", "Permission denied"),
        "permission denied. Add yourself to the group that may (usermod -aG docker $USER, then log in "
        "again), which is as good as root on that machine",
    ),
    (("HTTP request to an HTTPS server", "HTTP request was sent to HTTPS"), f"it wants TLS. {_TLS}"),
    (
        (
            "certificate required",
            "bad certificate",
            "handshake failure",
            "unknown ca",
            "CERTIFICATE_REQUIRED",
        ),
        f"it does not take the certificate that it is shown. {_TLS}, signed by an authority that it knows",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "its certificate is not signed by the authority that is named as tls.ca, or is for another name",
    ),
    (("WRONG_VERSION_NUMBER", "wrong version number"), "it speaks no TLS. Take out tls, or have it do so"),
    (
        ("Connection refused",),
        "nobody listens there. Start it, or say where it is",
    ),
    (("No route to host", "Network is unreachable"), "there is no way to that host. Is it on?"),
    (
        ("timed out", "Timeout", "TimeoutError"),
        "it does not answer. See whether the host is well; answer_within leaves it more time",
    ),
    (
        (
            *("Connection reset", "closed connection", "Broken pipe", "Connection aborted", "IncompleteRead"),
            "error while Close",  # so the docker program at the other end of an SSH connection that broke
        ),
        "it has gone away in the middle. See whether the host is well, and run it again",
    ),
    (
        (
            "Expecting value",
            "JSONDecodeError",
            "BadStatusLine",
            '"ApiVersion" is missing',
            "answered 404",
        ),
        "what answers there is no Docker engine",
    ),
)


def of_engine(said: str) -> str:
    """What an engine said, and what to do about it."""
    text = " ".join(said.split())
    lower = text.lower()
    for needles, cure in _OF_ENGINES:
        if any(needle.lower() in lower for needle in needles):
            return f"{text.rstrip('.')}. {cure}"
    return text


def of_error(error: APIError) -> str:
    """The same of an error of its API."""
    explanation = error.explanation
    text = (
        explanation.decode(errors="replace") if isinstance(explanation, bytes) else str(explanation or error)
    )
    return of_engine(text)


def of_connection(said: str) -> str:
    """Why nobody can be reached, in words, and what to do about it."""
    text = " ".join(said.split())
    for needles, words in _OF_CONNECTIONS:
        if any(needle in text for needle in needles):
            return words
    return text
