"""Options of object stores under which two writers would overwrite each other's commits."""

from __future__ import annotations

import pytest

from promptmill.lake.object_store import check_options
from promptmill.runtime.errors import Misconfigured

S3 = "s3://bucket/store"


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"AWS_S3_ALLOW_UNSAFE_RENAME": "true"}, {}),
        ({"allow_unsafe_rename": "1"}, {}),
        ({"conditional_put": "disabled"}, {}),
        (None, {"AWS_S3_ALLOW_UNSAFE_RENAME": "TRUE"}),
        (None, {"aws_s3_allow_unsafe_rename": " on "}),
        ({}, {"AWS_CONDITIONAL_PUT": "disabled"}),
    ],
)
def test_a_client_that_does_not_put_if_absent_is_refused_by_name(
    options: dict[str, str] | None, environ: dict[str, str]
) -> None:
    (name,) = {**environ, **(options or {})}
    with pytest.raises(Misconfigured, match=f"^{name} is .*; remove it"):
        check_options(S3, options, environ)


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (None, {}),
        ({"AWS_S3_ALLOW_UNSAFE_RENAME": "false"}, {"AWS_CONDITIONAL_PUT": "etag"}),
        ({}, {"ALLOW_UNSAFE_RENAME": "true"}),
    ],
)
def test_other_options_are_left_alone(
    options: dict[str, str] | None, environ: dict[str, str]
) -> None:
    check_options(S3, options, environ)


@pytest.mark.parametrize("uri", ["/data/store", "file:///data/store"])
def test_a_folder_has_no_such_options(uri: str) -> None:
    check_options(uri, None, {"AWS_S3_ALLOW_UNSAFE_RENAME": "true"})


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (None, {"AWS_ENDPOINT_URL": "https://mill:hunter2@store:9000"}),
        ({}, {"AZURE_ENDPOINT": "https://mill:hunter2@store"}),
        ({"endpoint": "http://mill:hunter2@store"}, {}),
    ],
)
def test_an_endpoint_with_a_password_is_refused_without_showing_it(
    options: dict[str, str] | None, environ: dict[str, str]
) -> None:
    (name,) = {**environ, **(options or {})}
    with pytest.raises(Misconfigured, match=f"^{name} has a user and a password") as refusal:
        check_options(S3, options, environ)
    assert "hunter2" not in str(refusal.value)


def test_endpoints_of_others_may_have_passwords() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://mill:hunter2@collector",
        "AWS_ENDPOINT_URL": "https://store:9000",
    }
    check_options(S3, None, environ)
