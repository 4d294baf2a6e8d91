"""The options of opening a model, once: what `Encoder.open` and `Embedder.open` are asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TypedDict

from clipcli.models.on_disk import catalogue, default_model
from clipcli.models.on_disk.fetch import OnProgress
from clipcli.records import Activation, Precision


class ModelOptions(TypedDict, total=False):
    """The fields of `ModelRequest` behind the model's name, as keywords."""

    device: str
    precision: Precision
    activation: Activation | None
    compile: bool
    cache_dir: str | os.PathLike[str] | None


@dataclass(frozen=True)
class ModelRequest:
    """Which model, where and how it is to run.

    name_or_path: a name, downloaded if it is not on disk, or a checkpoint's path; a name wins over
    a file of that name, and `./ViT-B/32` is a path; `vit-b-32` is the name where there is no such
    file. `hf:ORG/NAME@REVISION` is a repository of the Hugging Face hub; `lite` is the embedded
    model, `auto` is `datacomp-b32-256` where that can be had, else ViT-B/32 or `lite`.
    device: auto, cpu, cuda, cuda:1 or mps. activation: of a bare checkpoint that does not say.
    compile: have torch.compile work on the image encoder, which takes minutes.
    cache_dir: of models and embeddings, in place of CLIPCLI_CACHE.
    """

    name_or_path: str
    device: str = "auto"
    precision: Precision = "auto"
    activation: Activation | None = None
    compile: bool = False
    cache_dir: str | os.PathLike[str] | None = None

    @classmethod
    def of(cls, model: str | ModelRequest, options: ModelOptions) -> ModelRequest:
        """A request, or a model's name or path, with options that replace the defaults."""
        if isinstance(model, ModelRequest):
            return replace(model, **options)
        return cls(model, **options)

    def resolved(
        self,
        on_progress: OnProgress | None = None,
        n_known: default_model.CountKnown | None = None,
    ) -> ModelRequest:
        """The same with a name as it is published, and no longer `auto`.

        A repository's is downloaded if it is not on disk, and gets the commit into its name.
        """
        if self.name_or_path.lower() == default_model.AUTO:
            name: str | None = default_model.resolve_auto(self.cache_dir, on_progress, n_known)
        else:
            name = catalogue.model_name(self.name_or_path)
        if name is None:
            return self
        if on_hub := catalogue.find_on_hub(name):
            from clipcli.models.on_disk import hub  # a path or one of the nine needs none of it

            root = catalogue.cache_root(self.cache_dir)
            name = on_hub.at(hub.fetch(on_hub, root, on_progress).commit)
        return replace(self, name_or_path=name)
