"""Bytes in and out: files that appear whole, rows, tables, files of embeddings."""
