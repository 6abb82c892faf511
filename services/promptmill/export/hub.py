"""Uploading the folder of an export to Hugging Face's hub with ``huggingface_hub``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptmill.export.folder import format_by_name
from promptmill.export.splits import DATA
from promptmill.runtime.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Pushed:
    """An uploaded folder.

    Attributes:
        dataset: ``OWNER/NAME``.
        commit: the commit on the hub that holds exactly the files of the folder.
        url: the URL of that commit.
    """

    dataset: str
    commit: str
    url: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``export --json`` prints."""
        return {"dataset": self.dataset, "commit": self.commit, "url": self.url}


class Hub:
    """A data set on the hub, to which the environment's token may write.

    The token is that of ``HF_TOKEN`` or of ``hf auth login``; ``HF_ENDPOINT`` names another hub.

    Args:
        dataset: ``OWNER/NAME``; it is created if it does not exist.
        private: whether a data set that is created can be read only by its owner.

    Raises:
        Misconfigured: the name is invalid, or ``huggingface_hub`` is not installed.
    """

    def __init__(self, dataset: str, *, private: bool) -> None:
        if not _NAME.fullmatch(dataset):
            raise Misconfigured(
                f"--push-to-hub {dataset}: this is not the name of a data set; write OWNER/NAME"
            )
        self._dataset = dataset
        self._private = private
        self._api = _api()

    def check(self, out: Path) -> None:
        """Refuse a single file or a missing token, which would fail only after a long export.

        Raises:
            Misconfigured: ``out`` is a file, or the hub refuses the token.
            Unavailable: the hub does not answer.
        """
        if format_by_name(out) is not None:
            raise Misconfigured(
                f"--push-to-hub needs a folder with a dataset card, and --out {out} is one file; "
                "choose a name without the ending of a file"
            )
        with self._explained("the records were not exported"):
            self._api.whoami()

    def push(self, folder: Path) -> Pushed:
        """Upload the folder, and delete the data files of an earlier export.

        Raises:
            Misconfigured: the hub refuses the data set. The folder is kept.
            Unavailable: the hub does not answer. The folder is kept.
        """
        again = f"hf upload {self._dataset} {folder} . --repo-type dataset --delete '{DATA}/*'"
        with self._explained(f"the export is complete in {folder}, and '{again}' uploads it"):
            self._api.create_repo(
                self._dataset, repo_type="dataset", private=self._private, exist_ok=True
            )
            done = self._api.upload_folder(
                repo_id=self._dataset,
                repo_type="dataset",
                folder_path=folder,
                commit_message="Upload an export of promptmill",
                delete_patterns=f"{DATA}/*",
            )
        return Pushed(self._dataset, done.oid, done.commit_url)

    @contextmanager
    def _explained(self, state: str) -> Iterator[None]:
        """Convert the library's errors to promptmill's, and add the ``state`` of the export."""
        # The library's HTTP client, and with it this base class, changes between its versions.
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HfHubHTTPError,
            HTTPError,
            LocalTokenNotFoundError,
        )

        hub = self._api.endpoint
        try:
            yield
        except LocalTokenNotFoundError as error:
            raise Misconfigured(
                f"{hub} needs a token that may write to {self._dataset}: set HF_TOKEN, or run "
                f"'hf auth login'; {state}"
            ) from error
        except HfHubHTTPError as error:
            said = f"{hub} refused {self._dataset}: {error.server_message or error}; {state}"
            if error.response.status_code in _REFUSED:
                raise Misconfigured(
                    f"{said}; the token in HF_TOKEN or of 'hf auth login' must be allowed to write "
                    "to it"
                ) from error
            raise Unavailable(said) from error
        except (HTTPError, OSError) as error:
            raise Unavailable(f"{hub} does not answer ({error}); {state}") from error
        except ValueError as error:  # the hub checks the metadata of the dataset card
            raise Misconfigured(
                f"{hub} refused the dataset card: {error}; correct it, for example with "
                f"--license; {state}"
            ) from error


def _api() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise Misconfigured(
            "--push-to-hub needs the package huggingface_hub: pip install 'promptmill[hub]'"
        ) from error
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
