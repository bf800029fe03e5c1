"""Uploads the files of a pack to the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from addkit.errors import RunError, UsageError, require_type
from addkit.packs.write import LICENCE, pack_contents
from addkit.runs.remote import hub_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A pack that was uploaded."""

    url: str
    """Of the commit."""
    name: str
    """For `addkit.load`: `hf://ORG/NAME@COMMIT`."""
    files: tuple[str, ...]


def push(
    run: Path | str,
    repository: str,
    *,
    weights: str = "ema",
    license: str = LICENCE,
    private: bool = False,
    token: str | None = None,
) -> Pushed:
    """Upload the files of a run's pack in one commit, which the hub shows with the card.

    A repository that is missing is created. Of one that exists, files of a pack are replaced, all
    others stay, and the hub keeps the versions before.

    Args:
        run: the run, or one of its checkpoints.
        repository: `ORG/NAME`.
        weights: `ema` (the averaged ones; raw where the run was trained without) or `raw`.
        license: the licence of the weights for the model card, such as `apache-2.0`.
        private: whether a repository that is created is private.
        token: of the hub; by default HF_TOKEN, or that of `hf auth login`.

    Raises:
        UsageError: no name of a repository, or a pack in place of a run.
        RunError: no such run, damaged weights, or a hub that is not reached or refuses the upload.
    """
    require_type("run", run, str, Path)
    require_type("repository", repository, str)
    contents, _ = pack_contents(Path(run), weights=weights, license=license)
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    api = HfApi(token=token)
    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        for name, content in contents.items()
    ]
    try:
        # None leaves the visibility to the organisation's own default.
        name = api.create_repo(repository, private=private or None, exist_ok=True).repo_id
        commit = api.create_commit(name, operations, commit_message="Upload a pack of addkit")
    except HFValidationError as error:
        raise UsageError(f"{repository}: give ORG/NAME: {error}") from error
    # The errors of its HTTP library differ by version, and have no base in common.
    except Exception as error:
        raise RunError(f"{repository}: {hub_error(error)}") from error
    return Pushed(
        url=str(commit.commit_url), name=f"hf://{name}@{commit.oid}", files=tuple(contents)
    )
