"""Attention over many patches is computed in parts, which are the whole in less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pictures import python

from clipcli.runtime import cpu_blocks

# the scores of one picture of 4,096 patches and 4 heads: 537 MB with their softmax
PEAK = """
import resource, torch
from clipcli.runtime.cpu_blocks import attention
q, k, v = torch.randn(3, 1, 4, 4097, 4, dtype=torch.bfloat16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    attention(q, k, v, None, torch.bfloat16)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("n_scores", [1, 50, 333])
@pytest.mark.parametrize("is_masked", [False, True])
def test_a_sequence_in_parts_is_the_whole(
    n_scores: int, is_masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 17, 8)
    mask = torch.full((17, 17), -torch.inf).triu(1) if is_masked else None
    whole = cpu_blocks.attention(q, k, v, mask, torch.float32)
    monkeypatch.setattr(cpu_blocks, "_SCORES_OF_ONE", n_scores)
    parts = cpu_blocks.attention(q, k, v, mask, torch.float32)
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("length", [50, 127, 128, 577])
@pytest.mark.parametrize("is_masked", [False, True])
def test_bfloat16_is_as_close_for_long_sequences_as_for_short(length: int, is_masked: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (0.6 * torch.randn(3, 2, 3, length, 8)).bfloat16()
    mask = torch.full((length, length), -torch.inf).triu(1) if is_masked else None
    exact = cpu_blocks.attention(q.float(), k.float(), v.float(), mask, torch.float32)
    mask = None if mask is None else mask.bfloat16()
    rounded = cpu_blocks.attention(q, k, v, mask, torch.float32)
    torch.testing.assert_close(rounded, exact, atol=0.01, rtol=0)


def test_many_patches_take_little_memory(tmp_path: Path) -> None:
    assert int(python(PEAK, tmp_path)) < 300
