"""Records the tensors and the number of parameters of models as open_clip builds them.

pip install "torch>=2.6,<2.14" open_clip_torch==3.3.0 timm==1.0.31
python tests/reference/make_sizes.py
"""

from __future__ import annotations

import json
from pathlib import Path

import open_clip

NAMES = (
    *("ViT-B-32-256", "ViT-L-14", "ViT-H-14-378"),
    *("ViT-B-16-SigLIP", "ViT-B-16-SigLIP2", "ViT-B-32-SigLIP2-256"),
    *("ViT-SO400M-14-SigLIP2", "ViT-SO400M-14-SigLIP2-378", "ViT-gopt-16-SigLIP2-256"),
    *("PE-Core-T-16-384", "PE-Core-S-16-384", "PE-Core-B-16", "PE-Core-L-14-336"),
)

if __name__ == "__main__":
    sizes = {}
    for name in NAMES:
        model = open_clip.create_model(name, pretrained=None)
        sizes[name] = {
            "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "config": open_clip.get_model_config(name),
            "tensors": {key: list(one.shape) for key, one in model.state_dict().items()},
        }
        print(f"{name}: {sizes[name]['n_parameters']:,}", flush=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sizes.items())
    path = Path(__file__).parent / "open_clip_models.json"
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
