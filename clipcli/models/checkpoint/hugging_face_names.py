"""Hugging Face's CLIPModel and SiglipModel; the misspelt "pre_layrnorm" is theirs."""

from __future__ import annotations

from clipcli.models.checkpoint.renaming import How, Layout, Rule


def _tower(theirs: str, ours: str) -> list[Rule]:
    block, our_block = rf"{theirs}\.encoder\.layers\.(\d+)", rf"{ours}.resblocks.\1"
    parts = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        r"mlp\.fc1": "mlp.c_fc",
        r"mlp\.fc2": "mlp.c_proj",
        r"self_attn\.out_proj": "attn.out_proj",
    }
    rules = [
        Rule(rf"{block}\.{old}\.(weight|bias)", rf"{our_block}.{new}.\2")
        for old, new in parts.items()
    ]
    pieces: tuple[How, ...] = ("q", "k", "v")
    return rules + [
        Rule(
            rf"{block}\.self_attn\.{one}_proj\.(weight|bias)", rf"{our_block}.attn.in_proj_\2", one
        )
        for one in pieces
    ]


_TEXT, _VISION = r"text_model\.", r"vision_model\."
_RULES = [
    Rule(r"(logit_scale|logit_bias)", r"\1"),
    Rule(_TEXT + r"embeddings\.token_embedding\.weight", "token_embedding.weight"),
    Rule(_TEXT + r"embeddings\.position_embedding\.weight", "positional_embedding"),
    *_tower("text_model", "transformer"),
    Rule(_TEXT + r"final_layer_norm\.(weight|bias)", r"ln_final.\1"),
    Rule(_VISION + r"embeddings\.class_embedding", "visual.class_embedding"),
    Rule(_VISION + r"embeddings\.patch_embedding\.(weight|bias)", r"visual.conv1.\1"),
    Rule(_VISION + r"embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    Rule(_VISION + r"pre_layrnorm\.(weight|bias)", r"visual.ln_pre.\1"),
    *_tower("vision_model", "visual.transformer"),
    Rule(_VISION + r"post_layernorm\.(weight|bias)", r"visual.ln_post.\1"),
]
# positions 0, 1, 2, ... that old versions of the library saved with the weights
_POSITIONS = r"(text|vision)_model\.embeddings\.position_ids"

CLIP_MODEL = Layout(
    "a CLIPModel",
    known_by=("text_model.embeddings.token_embedding.weight",),
    rules=[
        *_RULES,
        Rule(r"text_projection\.weight", "text_projection", "turned"),
        Rule(r"visual_projection\.weight", "visual.proj", "turned"),
    ],
    derived=_POSITIONS,
)
SIGLIP_MODEL = Layout(
    "a SiglipModel",
    known_by=("vision_model.head.probe", "text_model.head.weight"),
    rules=[
        *_RULES,
        Rule(_TEXT + r"head\.weight", "text_projection", "turned"),
        Rule(_TEXT + r"head\.bias", "text_projection_bias"),
        Rule(_VISION + r"head\.probe", "visual.pool.probe", "squeezed"),
        Rule(_VISION + r"head\.attention\.in_proj_(weight|bias)", r"visual.pool.attn.in_proj_\1"),
        Rule(
            _VISION + r"head\.attention\.out_proj\.(weight|bias)", r"visual.pool.attn.out_proj.\1"
        ),
        Rule(_VISION + r"head\.layernorm\.(weight|bias)", r"visual.pool.ln.\1"),
        Rule(_VISION + r"head\.mlp\.fc1\.(weight|bias)", r"visual.pool.mlp.c_fc.\1"),
        Rule(_VISION + r"head\.mlp\.fc2\.(weight|bias)", r"visual.pool.mlp.c_proj.\1"),
    ],
    derived=_POSITIONS,
)
