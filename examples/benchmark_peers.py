"""What people write without clipcli, as whole processes: run by benchmark.py.

    python examples/benchmark_peers.py open_clip FOLDER LIST 1
    python examples/benchmark_peers.py transformers FOLDER LIST 16

Labels the photographs in LIST, one path a line, in batches of so many, and prints each label's
probability. Several sizes, as in 8,16,32, print the images a second of each instead,
the model loaded once. Needs only the peer's own packages; FOLDER holds the weights and the
vocabulary that benchmark_parts.py saves, and `save FOLDER` adds them in transformers' layout.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LABELS = ["astronaut", "cat", "cup of coffee", "galaxy", "rocket"]
PROMPT = "a photo of a {}."
WEIGHTS = "vit_b_32.safetensors"  # under OpenAI's names

# transformers' names to OpenAI's, in this order
RENAMED = {
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "visual_projection.weight": "visual.proj",
    "text_model.encoder.layers": "transformer.resblocks",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
    "layer_norm": "ln_",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


class OpenClip:
    """The loop of open_clip's README: prompts encoded once, photographs batch by batch."""

    def __init__(self, folder: Path) -> None:
        import open_clip
        import torch
        from safetensors.torch import load_file

        name = "ViT-B-32-quickgelu"
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(name)
        self.model.load_state_dict(load_file(folder / WEIGHTS))
        self.model.eval()
        tokens = open_clip.get_tokenizer(name)([PROMPT.format(label) for label in LABELS])
        with torch.no_grad():
            self.texts = self.model.encode_text(tokens)
            self.texts /= self.texts.norm(dim=-1, keepdim=True)

    def classify(self, paths: list[str], batch_size: int) -> Iterator[list[float]]:
        """The probabilities of the labels, photograph by photograph."""
        import torch
        from PIL import Image

        with torch.no_grad():
            for start in range(0, len(paths), batch_size):
                batch = paths[start : start + batch_size]
                pictures = torch.stack([self.preprocess(Image.open(path)) for path in batch])
                images = self.model.encode_image(pictures)
                images /= images.norm(dim=-1, keepdim=True)
                scale = self.model.logit_scale.exp()
                yield from (scale * images @ self.texts.T).softmax(dim=-1).tolist()


class Transformers:
    """The zero-shot pipeline of transformers, with its batch size set."""

    def __init__(self, folder: Path) -> None:
        from transformers import pipeline

        self.pipeline = pipeline("zero-shot-image-classification", str(folder / "transformers"))

    def classify(self, paths: list[str], batch_size: int) -> Iterator[list[float]]:
        results = self.pipeline(
            paths, candidate_labels=LABELS, hypothesis_template=PROMPT, batch_size=batch_size
        )
        for result in results:
            scores = {one["label"]: one["score"] for one in result}
            yield [scores[label] for label in LABELS]

    @staticmethod
    def save(folder: Path) -> None:
        """The weights as a directory that `pipeline` opens, with processor and tokenizer."""
        from safetensors.torch import load_file
        from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

        weights = load_file(folder / WEIGHTS)
        model = CLIPModel(CLIPConfig())  # its default is ViT-B/32
        for name, tensor in model.state_dict().items():
            source = name
            for theirs, openai in RENAMED.items():
                source = source.replace(theirs, openai)
            if "self_attn" in source:  # query, key and value are one tensor there
                block, part, kind = source.rsplit(".", 2)
                stacked = weights[block.replace("self_attn", f"attn.in_proj_{kind}")]
                weight = stacked.chunk(3)["qkv".index(part[0])]
            else:
                weight = weights[source]
            tensor.copy_(weight.T if name.endswith("_projection.weight") else weight)
        model.save_pretrained(folder / "transformers")
        CLIPImageProcessor().save_pretrained(folder / "transformers")
        tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        tokenizer.save_pretrained(folder / "transformers")


PEERS = {"open_clip": OpenClip, "transformers": Transformers}


def main() -> None:
    if sys.argv[1] == "save":
        Transformers.save(Path(sys.argv[2]))
        return
    peer = PEERS[sys.argv[1]](Path(sys.argv[2]))
    paths = Path(sys.argv[3]).read_text().splitlines()
    batch_sizes = [int(size) for size in sys.argv[4].split(",")]
    if len(batch_sizes) == 1:
        rows = csv.writer(sys.stdout)
        rows.writerow(["path", "label", "probability"])
        for path, probabilities in zip(paths, peer.classify(paths, batch_sizes[0]), strict=True):
            rows.writerows([path, *pair] for pair in zip(LABELS, probabilities, strict=True))
        return
    for batch_size in batch_sizes:
        start = time.perf_counter()
        list(peer.classify(paths, batch_size))
        print(batch_size, len(paths) / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
