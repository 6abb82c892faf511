"""The API key: from the environment only, and never in a text that anybody reads."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import SecretStr

from promptmill.core.errors import Misconfigured

VARIABLE = "PROMPTMILL_API_KEY"


def read_api_key(environment: Mapping[str, str] | None = None) -> SecretStr | None:
    """The key, ``None`` where there is none.

    Raises:
        Misconfigured: it has characters that an HTTP header cannot carry.
    """
    key = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise Misconfigured(
            f"{VARIABLE} contains a space, a line break or a non-ASCII character: set it to the "
            "key alone, as the server's operator issued it"
        )
    return SecretStr(key)


def without_key(text: str, key: SecretStr | None) -> str:
    """``text`` with the key blacked out; servers like to quote what they refuse."""
    return text if key is None else text.replace(key.get_secret_value(), "***")
