"""What is known already: embeddings by content, so that no photograph is encoded twice.

store.py   the SQLite file, and what happens when it fails
schema.py  the tables, the steps from one version to the next, transactions
proof.py   checksums, by which a row proves that it is what was asked for
photos.py  photographs: path -> content -> pixels -> embedding
texts.py   texts and what a model knows of them
specs.py   what was found out about a model, so that a warm run does not open it
upkeep.py  info, verify, clear
prune.py   what is gone is forgotten, what is on a disk that is not connected is kept
repair.py  a whole file out of a damaged one
rows.py    every row of a table, for verify and repair
failures.py  what goes wrong, in words, and what to do
"""
