"""Object stores: the options with which two writers cannot both commit the same version.

A commit creates the next entry of the log, which must fail if the entry exists. On S3 this is a
conditional PUT (``If-None-Match: *``), which deltalake uses by default. Some options of the client
remove that condition, and then the later of two commits overwrites the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.redis_client import has_password, without_password

_UNSAFE: Final = {
    "aws_s3_allow_unsafe_rename": frozenset({"1", "true", "t", "yes", "y", "on"}),
    "allow_unsafe_rename": frozenset({"1", "true", "t", "yes", "y", "on"}),
    "aws_conditional_put": frozenset({"disabled"}),
    "conditional_put": frozenset({"disabled"}),
}
"""Unsafe options with the values that remove the condition; case does not matter."""

_AMBIENT: Final = frozenset({"aws_s3_allow_unsafe_rename", "aws_conditional_put"})
"""The unsafe options that the client reads from the environment."""

_CLIENT: Final = ("aws_", "azure_", "google_")
"""The prefixes of the names of the client's variables."""


def check_options(uri: str, options: Mapping[str, str] | None, environ: Mapping[str, str]) -> None:
    """Refuse options that overwrite others' commits, or that put a secret into messages.

    Args:
        uri: URI of the store; a local path has no unsafe options.
        options: the options given to the client.
        environ: the environment, from which the client reads further options.

    Raises:
        Misconfigured: an option removes the condition, or a URL has a password, which the client's
            errors would show.
    """
    if "://" not in uri or uri.startswith("file://"):
        return
    ours = {name: value for name, value in environ.items() if name.lower().startswith(_CLIENT)}
    for name, value in {**ours, **(options or {})}.items():
        if "endpoint" in name.lower() and has_password(value):
            raise Misconfigured(
                f"{name} has a user and a password ({without_password(value)}): remove them, and "
                "give the credentials in separate variables, such as AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            )
    ambient = {name: value for name, value in environ.items() if name.lower() in _AMBIENT}
    for name, value in {**ambient, **(options or {})}.items():
        if value.strip().lower() in _UNSAFE.get(name.lower(), ()):
            raise Misconfigured(
                f"{name} is {value!r}: with it, two writers of {uri} overwrite each other's "
                "commits; remove it, and use an object store that supports conditional writes "
                "(If-None-Match)"
            )
