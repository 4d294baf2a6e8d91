"""What is known of a model, and which are on disk. No file is opened."""

from __future__ import annotations

from pathlib import Path

from clipcli.errors import one_line
from clipcli.models.on_disk import catalogue, snapshots
from clipcli.models.on_disk.catalogue import ON_THE_HUB, HubName
from clipcli.models.on_disk.known_models import ON_HUB, PublishedModel
from clipcli.models.on_disk.snapshots import find_on_disk


def others_on_disk(root: Path | None) -> list[tuple[str, int]]:
    """Repositories without a name here that are on disk, as `hf:ORG/NAME`, and their bytes."""
    if root is None:
        return []
    named = {model.repository for model in ON_HUB}
    others = [one for one in snapshots.repositories(root) if one not in named]
    found = [snapshots.find_all(HubName("", one, None), root) for one in others]
    return [
        (ON_THE_HUB + one, snapshots.size_bytes(some))
        for one, some in zip(others, found, strict=True)
    ]


def place(name: str, root: Path | None) -> Path | None:
    """Where the model lies, or None where it is not on disk."""
    return None if root is None else find_on_disk(name, root)


def facts(name: str, root: Path | None) -> str:
    """What is known of a model of the table or of the hub, a line each."""
    from clipcli.models.on_disk import hub

    known = catalogue.find_known(name)
    if isinstance(known, PublishedModel):
        lines = [f"{name}: published by OpenAI with CLIP (Radford et al., 2021)"]
    else:
        lines = [f"{name}: a repository of the Hugging Face hub"]
    if known is not None:
        lines += [
            f"pictures    {known.px} x {known.px} pixels",
            f"texts       {'English' if known.languages == 'en' else '100 languages'}",
            f"ImageNet    {known.imagenet_top1} % zero-shot top-1, by {known.imagenet_source}",
            f"parameters  {known.n_parameters:,}",
            f"size        {known.size}",
            f"licence     {known.licence}",
            f"best for    {known.best_for}",
        ]
    if isinstance(known, PublishedModel):
        lines += [f"SHA-256     {known.sha256}", f"from        {catalogue.model_url(known)}"]
    elif on_hub := catalogue.find_on_hub(name):
        lines.append(f"from        {hub.endpoint()}/{on_hub.repository}")
        snapshot = None if root is None else snapshots.find(on_hub, root)
        if snapshot is not None:
            stated = snapshots.stated_licence(Path(snapshot.folder))
            lines += [
                f"commit      {snapshot.commit}",
                f"card        licence {stated or 'not stated'}",
            ]
    lines.append(f"on disk     {place(name, root) or 'no'}")
    return "".join(f"{one_line(line)}\n" for line in lines)
