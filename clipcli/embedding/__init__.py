"""Photographs and texts to embeddings, each encoded once."""
