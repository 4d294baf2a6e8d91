"""Settings of the whole process, and so of every other library in it: changed only on request."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h

_logger = logging.getLogger(__name__)
_is_tuned = False  # whether `tune_process` was called


def tune_process() -> None:
    """Let clipcli change settings of the whole process, each when it is first needed.

    - Memory that is freed stays with the process, on a CPU with glibc: a batch of 32 takes ViT-B/32
      7 % longer without, and lite twice as long (two cores).
    - Garbage collection pauses while a model is opened and torch imported, and never looks at
      what they made: 0.22 s less of a start, and 8 MB more of memory.
    - Float32 on CUDA is computed without TF32, whose mantissas have 10 bits: cuDNN's convolutions
      use it otherwise.
    - Pillow's own limit, which WEBP, GIF and ICO apply besides ours, is lifted, and libtiff and
      Pillow's log write nothing to stderr.

    The command line calls it. The library never does: the process is its caller's.
    """
    global _is_tuned
    _is_tuned = True


def keep_freed_memory() -> None:
    """Where the process is tuned: memory that a layer frees stays for the next one.

    To be called after a model was loaded, so that what loading frees goes back to the system.
    """
    if not _is_tuned:
        return
    import ctypes

    with suppress(OSError, AttributeError):  # another C library, which has no such switch
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the most it takes


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Where the process is tuned: objects made in the block, as by importing torch, live as long as
    the process, so the collector never looks at them."""
    if not _is_tuned or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # without it, the next collections take longer than the pause has saved
        gc.enable()


def tune_pillow() -> None:
    """Where the process is tuned: only `DecodeOptions` limits the size of a picture, and what is
    wrong with one is said by us alone, not by libtiff or Pillow's log on stderr as well."""
    if not _is_tuned:
        return
    import ctypes

    from PIL import Image, _imaging

    Image.MAX_IMAGE_PIXELS = None
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with suppress(OSError, AttributeError):  # a Pillow without libtiff, or one that hides it
        libtiff = ctypes.CDLL(_imaging.__file__)  # finds what Pillow is linked with
        libtiff.TIFFSetWarningHandler(None)
        libtiff.TIFFSetErrorHandler(None)


def compute_float32_exactly() -> None:
    """Where the process is tuned: cuDNN computes float32 without TF32."""
    if not _is_tuned:
        _logger.info("float32 on CUDA may be computed in TF32; clipcli.tune_process() prevents it")
        return
    import torch

    torch.backends.cudnn.allow_tf32 = False
