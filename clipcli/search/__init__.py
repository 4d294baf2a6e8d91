"""Embeddings to the ones nearest to a query."""
