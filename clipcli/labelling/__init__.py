"""Embeddings to labels: zero-shot, several labels at once, calibrated, or taught by a probe."""
