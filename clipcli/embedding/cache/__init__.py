"""What is known already: embeddings by content, so that no photograph is encoded twice.

store.py   the SQLite file, and what happens when it fails
schema.py  the tables, the steps from one version to the next, transactions
photos.py  photographs: path -> content -> pixels -> embedding
texts.py   texts and what a model knows of them
specs.py   what was found out about a model, so that a warm run does not open it
upkeep.py  info, verify, prune, clear
"""
