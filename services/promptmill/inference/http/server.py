"""Discovery of the model that a server offers: its name, its context and the kind of server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from promptmill.inference.http.client import Client
from promptmill.inference.http.errors import ServerFault
from promptmill.inference.http.options import Server
from promptmill.runtime.errors import Misconfigured, Poison

_OWNERS: Mapping[str, Server] = {"vllm": "vllm", "sglang": "sglang", "tensorrt_llm": "trtllm"}
_HOSTS: Mapping[str, Server] = {"api.openai.com": "openai", "integrate.api.nvidia.com": "nim"}
_CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on a server.

    Attributes:
        name: the name that every request carries.
        server: the kind of server; never ``auto``.
        context_tokens: the maximum tokens of a conversation; 0 if the server does not report it.
    """

    name: str
    server: Server
    context_tokens: int = 0


async def find_model(client: Client) -> ServedModel:
    """Find the model that the options name, or the only one that the server offers.

    A server need not list its models. Whether a named model exists is shown by the canary.

    Raises:
        Misconfigured: no model is named, and the server does not offer exactly one.
        ServerUnreachable, ServerBusy: the server cannot be asked at the moment.
    """
    cards = await _list(client)
    deployment = client.address.deployment
    name = client.options.model or deployment or _only(cards, client.address.api)
    card = next((card for card in cards if card.get("id") == name), {})
    server = _server(client, card or (cards[0] if cards else {}))
    client.speak_to(server)
    return ServedModel(name, server, _context(card))


async def served_names(client: Client) -> list[str]:
    """The names of the models and adapters that the server lists; empty if it lists none."""
    return [str(card["id"]) for card in await _list(client) if "id" in card]


async def _list(client: Client) -> list[dict[str, Any]]:
    """The entries of the server's model list; empty if the server has no such list."""
    for _ in range(_TRIES):
        try:
            answer = await client.transport.get(f"{client.address.api}/models")
        except (ServerFault, Poison):
            continue
        cards = answer.get("data") if isinstance(answer, dict) else None
        return [card for card in cards or [] if isinstance(card, dict)]
    return []


def _only(cards: list[dict[str, Any]], api: str) -> str:
    """The name of the only model. LoRA adapters, which have a parent, do not count."""
    names = [str(card["id"]) for card in cards if "id" in card and not card.get("parent")]
    if len(names) != 1:
        served = ", ".join(names) or "an unknown number"
        raise Misconfigured(
            f"no model was named and {api} serves {served}: choose one with --model NAME"
        )
    return names[0]


def _server(client: Client, card: Mapping[str, Any]) -> Server:
    if client.options.server != "auto":
        return client.options.server
    host = urlsplit(client.address.server).hostname or ""
    if client.address.is_azure:
        return "openai"
    return _HOSTS.get(host) or _OWNERS.get(str(card.get("owned_by"))) or "generic"


def _context(card: Mapping[str, Any]) -> int:
    lengths = [card.get(field) for field in _CONTEXT_FIELDS]
    return next((n for n in lengths if isinstance(n, int) and n > 0), 0)
