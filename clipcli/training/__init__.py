"""Contrastive training, the first of CLIP's three stages (paper, 2.2 to 2.5).

pairs.read_pairs -> batches.Batches -> gradient.backward -> loop.train -> log, state
Pair                Batch              a loss              Step          log, curves, checkpoint
"""
