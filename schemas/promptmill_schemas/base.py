"""The base class of all contracts, and the functions that encode and decode them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, Final, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, from_json

from promptmill_schemas.errors import (
    MISSING,
    SHOWN_CHARACTERS,
    ContractError,
    LocalError,
    NewerVersion,
)
from promptmill_schemas.json_bounds import check_bounds
from promptmill_schemas.limits import MAX_MESSAGE_BYTES, MAX_UNKNOWN_FIELDS
from promptmill_schemas.plain_json import require_plain_json

SCHEMA_VERSION: Final = 1
MAX_FINDINGS = 64

TYPED_UNION: Final = "reference"
"""The field whose value is one of several contracts."""


class Contract(BaseModel):
    """An immutable message. Fields of newer versions are kept and passed on.

    Files written by people are read by :func:`validate` with ``unknown="forbid"``, so that a
    misspelt field is not mistaken for a newer one.
    """

    max_bytes: ClassVar[int] = MAX_MESSAGE_BYTES
    """The size of the largest accepted encoding in bytes."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        allow_inf_nan=False,
        revalidate_instances="never",
        protected_namespaces=(),
    )

    @property
    def unknown_fields(self) -> set[str]:
        """The names of the fields that this version does not know."""
        return set(self.model_extra or ())

    @model_validator(mode="before")
    @classmethod
    def _is_of_this_version(cls, value: Any) -> Any:
        """Refuse later versions before fields are validated, and too many unknown fields."""
        if isinstance(value, dict):
            known = cls.__pydantic_fields__.keys()
            if "schema_version" in value and "schema_version" in known:
                _check_version(value["schema_version"])
            if not value.keys() <= known:
                _check_unknown(value, value.keys() - known)
        return value


def _check_version(found: Any) -> None:
    if isinstance(found, int) and found > SCHEMA_VERSION:
        raise NewerVersion(found, SCHEMA_VERSION)


def _check_unknown(value: dict[str, Any], unknown: AbstractSet[str]) -> None:
    if len(unknown) > MAX_UNKNOWN_FIELDS:
        limit = f"at most {MAX_UNKNOWN_FIELDS} unknown fields in one object"
        remedy = "remove the fields or correct their names"
        raise LocalError("", sorted(unknown)[:3], f"{limit}, got {len(unknown)}", remedy)
    for name in unknown:
        require_plain_json(value[name], name)


ContractT = TypeVar("ContractT", bound=Contract)


def encode(contract: Contract) -> bytes:
    """Encode a contract as compact UTF-8 JSON without null fields."""
    return contract.__pydantic_serializer__.to_json(contract, exclude_none=True)


def decode(contract: type[ContractT], raw: bytes | None) -> ContractT:
    """Decode the contract in ``raw``.

    Raises:
        ContractError: the message is invalid; it describes the most relevant error.
    """
    return validate(contract, parse_json(raw, contract.max_bytes))


def parse_json(raw: bytes | None, max_bytes: int = MAX_MESSAGE_BYTES) -> Any:
    """Parse the JSON value in ``raw``.

    NaN and Infinity are accepted here, so that the validation can name their field.

    Raises:
        ContractError: ``raw`` is ``None``, too large, nested too deeply, not UTF-8, or not JSON.
    """
    if raw is None:
        raise ContractError(
            "", None, "a message must have a value", "send the JSON document as the message's value"
        )
    if len(raw) > max_bytes:
        limit = f"at most {max_bytes} bytes of JSON, got {len(raw)}"
        raise ContractError("", raw[:40], limit, "shorten or split the text")
    check_bounds(raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(raw, error)


def _parse_leniently(raw: bytes, strict_error: orjson.JSONDecodeError) -> Any:
    """Parse JSON with NaN and Infinity, which the validation of fields refuses."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        limit = f"valid UTF-8, but byte {error.start} is 0x{raw[error.start]:02x}"
        raise ContractError("", raw[:40], limit, "write the file as UTF-8") from error
    try:
        return from_json(raw, allow_inf_nan=True)
    except ValueError:
        limit = f"one JSON document, but {strict_error}"
        raise ContractError("", raw[:40], limit, "send valid JSON") from strict_error


def validate(
    contract: type[ContractT], value: Any, *, unknown: Literal["allow", "forbid"] | None = None
) -> ContractT:
    """Validate parsed JSON as a contract; see :func:`decode` for errors.

    Args:
        unknown: how to treat unknown fields at any depth; ``None`` uses the contract's setting.
    """
    try:
        return contract.model_validate(value, extra=unknown)
    except ValidationError as error:
        raise contract_error(error) from error


def contract_error(error: ValidationError) -> ContractError:
    """Convert pydantic's most relevant error.

    A later version comes before all other errors, an invalid value before a missing field, and a
    missing field before an unknown one. For example, ``{"prompt": "…", "n": 0}`` sent as a contract
    is refused for its ``n``.
    """
    return contract_errors(error)[0]


def contract_errors(error: ValidationError) -> list[ContractError]:
    """Convert all of pydantic's errors that do not follow from others, the most relevant first."""
    findings = error.errors(include_url=False)[:MAX_FINDINGS]
    own = [finding for finding in findings if not _follows(finding, findings)]
    return [_converted(finding) for finding in sorted(own, key=_rank)]


def _converted(finding: ErrorDetails) -> ContractError:
    cause = finding.get("ctx", {}).get("error")
    if isinstance(cause, ContractError):
        # Raise a copy: pydantic's error holds the original, and the resulting reference cycle would
        # keep the whole parsed message, because Python's garbage collector cannot see it.
        return _placed(cause.detached(), finding)
    field = _path(finding)
    value = MISSING if finding["type"] == "missing" else finding.get("input")
    return ContractError(field, value, _limit(finding), _remedy(finding["type"]))


def _placed(cause: ContractError, finding: ErrorDetails) -> ContractError:
    """Return the error with the whole path of its field."""
    if not isinstance(cause, LocalError):
        return cause
    return cause.renamed(".".join(filter(None, (_path(finding), cause.field))))


def _path(finding: ErrorDetails) -> str:
    """Return the dotted path of a finding, without the kind that pydantic inserts after a union."""
    parts = [str(part)[:SHOWN_CHARACTERS] for part in finding["loc"]]
    return ".".join(p for i, p in enumerate(parts) if i == 0 or parts[i - 1] != TYPED_UNION)


def _follows(finding: ErrorDetails, findings: list[ErrorDetails]) -> bool:
    """Return whether an error only follows from another, as a list without its invalid item."""
    loc = finding["loc"]
    return any(len(f["loc"]) > len(loc) and f["loc"][: len(loc)] == loc for f in findings)


def _rank(finding: ErrorDetails) -> int:
    if isinstance(finding.get("ctx", {}).get("error"), NewerVersion):
        return -1
    return {"missing": 1, "extra_forbidden": 2}.get(finding["type"], 0)


def _limit(finding: ErrorDetails) -> str:
    if finding["type"] == "model_type":
        return "input should be a JSON object"
    text = finding["msg"][0].lower() + finding["msg"][1:]
    return text.replace("tuple", "list").replace("dictionary", "object")


UNKNOWN_REMEDY: Final = "remove the field or correct its name"

_REMEDIES = {
    "missing": "add the field",
    "extra_forbidden": UNKNOWN_REMEDY,
    "finite_number": "use a finite number",
    "literal_error": "use one of the allowed values",
    "model_type": "send a JSON object",
    "string_unicode": "write the text as UTF-8",
    "too_short": "give at least one item",
    "too_long": "give fewer items",
    "string_too_short": "give a text that is not empty",
    "string_too_long": "shorten the text",
}


def _remedy(kind: str) -> str:
    if remedy := _REMEDIES.get(kind):
        return remedy
    if kind.endswith(("_type", "_parsing")):
        return "send a value of the expected type"
    return "use a value within the limit"
