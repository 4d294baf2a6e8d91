"""The models that have a name here: what they are, where they come from, who may use them.

One table. n_parameters: of both towers, as open_clip builds them; of TinyCLIP, as its name adds
them up, with the table of tokens. imagenet_top1: zero-shot on ImageNet-1k in percent, by the
source beside it. What a tool may not offer to everyone stands not in it, and is `hf:ORG/NAME`.
"""

from __future__ import annotations

from dataclasses import dataclass

OPEN_CLIP = "open_clip, docs/openclip_results.csv"
SIGLIP_2 = "google-research/big_vision, README_siglip2.md"
PE_CORE = "facebookresearch/perception_models, README.md"
TINY_CLIP = "microsoft/Cream, TinyCLIP/README.md"


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model with a name.

    size_bytes: of its file, or about that; None where it is not known. px: height and width of the
    pictures that it takes. languages: of its texts, en or the number of them.
    """

    name: str
    n_parameters: int
    size_bytes: int | None = None
    px: int = 224
    imagenet_top1: float
    imagenet_source: str = OPEN_CLIP
    languages: str = "en"
    licence: str = "MIT"
    best_for: str = "the paper"

    @property
    def size(self) -> str:
        """Of its file; where that is not known, about what numbers of four bytes take."""
        if self.size_bytes is None:
            return f"~{size_text(4 * self.n_parameters)}"
        return size_text(self.size_bytes)


@dataclass(frozen=True, kw_only=True)
class PublishedModel(KnownModel):
    """One of the nine that OpenAI published with the paper.

    sha256: of the file, which is also a part of its URL. size_bytes: of its tensors; the archive
    is a little larger.
    """

    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name under which it is published, and kept on disk."""
        return self.name.replace("/", "-").replace("@", "-") + ".pt"


@dataclass(frozen=True, kw_only=True)
class HubModel(KnownModel):
    """A model of the Hugging Face hub. revision: a commit, or None for the newest one."""

    repository: str
    revision: str | None = None
    file: str = "open_clip_model.safetensors"


# fmt: off
PUBLISHED: tuple[PublishedModel, ...] = (
    PublishedModel(
        name="RN50", n_parameters=102_007_137, size_bytes=255_262_844, imagenet_top1=59.82,
        sha256="afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    PublishedModel(
        name="RN101", n_parameters=119_688_033, size_bytes=290_938_388, imagenet_top1=62.28,
        sha256="8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    PublishedModel(
        name="RN50x4", n_parameters=178_300_601, size_bytes=421_085_084, px=288,
        imagenet_top1=66.27,
        sha256="7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    PublishedModel(
        name="RN50x16", n_parameters=290_979_217, size_bytes=660_099_612, px=384,
        imagenet_top1=70.72,
        sha256="52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
    PublishedModel(
        name="RN50x64", n_parameters=623_258_305, size_bytes=1_352_043_452, px=448,
        imagenet_top1=73.91,
        sha256="be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
    PublishedModel(
        name="ViT-B/32", n_parameters=151_277_313, size_bytes=353_436_676, imagenet_top1=63.32,
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    PublishedModel(
        name="ViT-B/16", n_parameters=149_620_737, size_bytes=350_349_316, imagenet_top1=68.34,
        sha256="5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    PublishedModel(
        name="ViT-L/14", n_parameters=427_616_513, size_bytes=932_051_972, imagenet_top1=75.54,
        sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    PublishedModel(
        name="ViT-L/14@336px", n_parameters=427_944_193, size_bytes=933_362_692, px=336,
        imagenet_top1=76.56,
        sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
)

ON_HUB: tuple[HubModel, ...] = (
    HubModel(
        name="datacomp-b32-256", n_parameters=151_288_833, size_bytes=605_000_000, px=256,
        imagenet_top1=72.8, best_for="everyday use",
        repository="laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K"),
    HubModel(
        name="laion2b-b32", n_parameters=151_277_313,
        imagenet_top1=66.6, best_for="LAION's papers",
        repository="laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    HubModel(
        name="laion2b-h14", n_parameters=986_109_441,
        imagenet_top1=78.0, best_for="LAION's papers",
        repository="laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
    HubModel(
        name="siglip-b16-224", n_parameters=203_155_970, size_bytes=813_000_000,
        imagenet_top1=76.0, licence="Apache-2.0", best_for="sigmoid scores",
        repository="timm/ViT-B-16-SigLIP"),
    HubModel(
        name="siglip2-b32-256", n_parameters=376_856_066, size_bytes=1_500_000_000, px=256,
        imagenet_top1=74.0, imagenet_source=SIGLIP_2, languages="100", licence="Apache-2.0",
        best_for="languages, fast",
        repository="timm/ViT-B-32-SigLIP2-256"),
    HubModel(
        name="siglip2-b16-224", n_parameters=375_187_970,
        imagenet_top1=78.2, imagenet_source=SIGLIP_2, languages="100", licence="Apache-2.0",
        best_for="languages",
        repository="timm/ViT-B-16-SigLIP2"),
    HubModel(
        name="siglip2-so400m-384", n_parameters=1_136_039_602, px=384,
        imagenet_top1=84.1, imagenet_source=SIGLIP_2, languages="100", licence="Apache-2.0",
        best_for="most accurate",
        repository="timm/ViT-SO400M-16-SigLIP2-384"),
    HubModel(
        name="pe-core-s", n_parameters=87_188_225, px=384,
        imagenet_top1=72.7, imagenet_source=PE_CORE, licence="Apache-2.0",
        best_for="small, accurate",
        repository="timm/PE-Core-S-16-384"),
    HubModel(
        name="pe-core-b", n_parameters=447_660_545,
        imagenet_top1=78.4, imagenet_source=PE_CORE, licence="Apache-2.0",
        best_for="accurate at B/16",
        repository="timm/PE-Core-B-16"),
    HubModel(
        name="pe-core-l", n_parameters=671_138_817, px=336,
        imagenet_top1=83.5, imagenet_source=PE_CORE, licence="Apache-2.0",
        best_for="large, softmax",
        repository="timm/PE-Core-L-14-336"),
    HubModel(
        name="tinyclip-8m", n_parameters=23_000_000,
        imagenet_top1=41.1, imagenet_source=TINY_CLIP, best_for="the smallest",
        repository="wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M", file="model.safetensors"),
    HubModel(
        name="tinyclip-39m", n_parameters=83_000_000,
        imagenet_top1=63.5, imagenet_source=TINY_CLIP, best_for="small and fast",
        repository="wkcn/TinyCLIP-ViT-39M-16-Text-19M-YFCC15M", file="model.safetensors"),
)
# fmt: on


def size_text(n_bytes: int) -> str:
    """`605 MB`, `1.5 GB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 999_500_000 else f"{n_bytes / 1e6:.0f} MB"
