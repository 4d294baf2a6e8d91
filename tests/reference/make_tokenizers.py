"""Makes two small tokenizers, as SigLIP and SigLIP 2 have them, and what open_clip makes of texts.

    pip install "torch>=2.6,<2.14" open_clip_torch==3.3.0 transformers==5.24.0 sentencepiece
    python tests/reference/make_tokenizers.py

The tests need `tokenizers` alone. The texts are some of `tokens.json`, which the pieces are
learned from as well.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
from open_clip.tokenizer import HFTokenizer
from transformers import AutoTokenizer

HERE = Path(__file__).parent
N_TEXTS = 200
CONTEXT_LENGTHS = (64, 12)

FORMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "siglip1": (
        "spiece.model",
        {"model_type": "unigram", "vocab_size": 1100, "normalization_rule_name": "nmt_nfkc"}
        | {"eos_id": 1, "unk_id": 2, "pad_id": -1, "bos_id": -1},
        {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "</s>"}
        | {"unk_token": "<unk>", "extra_ids": 0, "additional_special_tokens": []},
    ),
    "siglip2": (
        "tokenizer.model",
        {"model_type": "bpe", "vocab_size": 1300, "normalization_rule_name": "identity"}
        | {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "byte_fallback": True}
        | {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
        | {"add_dummy_prefix": False, "remove_extra_whitespaces": False},
        {"tokenizer_class": "GemmaTokenizer", "eos_token": "<eos>", "pad_token": "<pad>"}
        | {"bos_token": "<bos>", "unk_token": "<unk>"}
        | {"add_bos_token": False, "add_eos_token": True, "padding_side": "right"},
    ),
}


def texts() -> list[str]:
    """Those with capitals, signs and other scripts first; no NUL, which pieces do not have."""
    known = [one["text"] for one in json.loads((HERE / "tokens.json").read_text(encoding="utf-8"))]
    known = [text for text in known if "\0" not in text]
    return sorted(known, key=lambda text: text.isascii() and text.islower())[:N_TEXTS]


def make(name: str, chosen: list[str]) -> None:
    file, training, settings = FORMS[name]
    folder = HERE / "tokenizers" / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpus.txt"
        lines = [" ".join(text.split()) for text in chosen]
        corpus.write_text("\n".join([*lines, *(line.lower() for line in lines)]), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=str(Path(scratch) / "pieces"),
            character_coverage=0.98,
            hard_vocab_limit=False,
            **training,
        )
        slow = Path(scratch) / "slow"
        slow.mkdir()
        (Path(scratch) / "pieces.model").rename(slow / file)
        (slow / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        AutoTokenizer.from_pretrained(slow).save_pretrained(folder)
    expected = {}
    for length in CONTEXT_LENGTHS:
        tokenizer = HFTokenizer(str(folder), context_length=length, clean="canonicalize")
        expected[str(length)] = tokenizer(chosen).tolist()
    path = folder / "expected.json"
    path.write_text(json.dumps({"texts": chosen, "ids": expected}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in FORMS:
        make(name, texts())
