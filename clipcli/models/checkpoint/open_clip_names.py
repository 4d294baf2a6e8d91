"""open_clip's CustomTextCLIP: an image tower of timm's, and a text tower under `text.`."""

from __future__ import annotations

from clipcli.models.checkpoint.renaming import Layout, Rule

_TRUNK = r"visual\.trunk\."
_BLOCK, _OUR_BLOCK = _TRUNK + r"blocks\.(\d+)\.", r"visual.transformer.resblocks.\1."
_POOL, _OUR_POOL = _TRUNK + r"attn_pool\.", "visual.pool."
_KIND = r"(weight|bias)"

CUSTOM_TEXT_CLIP = Layout(
    "open_clip's CLIP with an image tower of timm's",
    known_by=("visual.trunk.patch_embed.proj.weight", "text.token_embedding.weight"),
    rules=[
        Rule(r"(logit_scale|logit_bias)", r"\1"),
        Rule(r"(?:text\.)?text_projection\.weight", "text_projection", "turned"),
        Rule(r"(?:text\.)?text_projection\.bias", "text_projection_bias"),
        Rule(
            r"(?:text\.)?((?:token_embedding|transformer|ln_final)\..+"
            r"|positional_embedding|text_projection)",
            r"\1",
        ),
        Rule(_TRUNK + r"cls_token", "visual.class_embedding", "squeezed"),
        Rule(_TRUNK + r"pos_embed", "visual.positional_embedding", "squeezed"),
        Rule(_TRUNK + rf"patch_embed\.proj\.{_KIND}", r"visual.conv1.\1"),
        Rule(_TRUNK + rf"norm_pre\.{_KIND}", r"visual.ln_pre.\1"),
        Rule(_BLOCK + rf"norm([12])\.{_KIND}", _OUR_BLOCK + r"ln_\2.\3"),
        Rule(_BLOCK + rf"attn\.qkv\.{_KIND}", _OUR_BLOCK + r"attn.in_proj_\2"),
        Rule(_BLOCK + rf"attn\.proj\.{_KIND}", _OUR_BLOCK + r"attn.out_proj.\2"),
        Rule(_BLOCK + rf"mlp\.fc1\.{_KIND}", _OUR_BLOCK + r"mlp.c_fc.\2"),
        Rule(_BLOCK + rf"mlp\.fc2\.{_KIND}", _OUR_BLOCK + r"mlp.c_proj.\2"),
        Rule(_TRUNK + rf"norm\.{_KIND}", r"visual.ln_post.\1"),
        Rule(_POOL + r"latent", _OUR_POOL + "probe", "squeezed"),
        Rule(_POOL + rf"q\.{_KIND}", _OUR_POOL + r"attn.in_proj_\1", "q"),
        Rule(_POOL + rf"kv\.{_KIND}", _OUR_POOL + r"attn.in_proj_\1", "kv"),
        Rule(_POOL + rf"proj\.{_KIND}", _OUR_POOL + r"attn.out_proj.\1"),
        Rule(_POOL + rf"norm\.{_KIND}", _OUR_POOL + r"ln.\1"),
        Rule(_POOL + rf"mlp\.fc1\.{_KIND}", _OUR_POOL + r"mlp.c_fc.\1"),
        Rule(_POOL + rf"mlp\.fc2\.{_KIND}", _OUR_POOL + r"mlp.c_proj.\1"),
        Rule(_TRUNK + r"head\.weight", "visual.proj", "turned"),
        Rule(_TRUNK + r"head\.bias", "visual.proj_bias"),
    ],
    derived=_TRUNK + r"rope\..+",  # sines and cosines of places
)
