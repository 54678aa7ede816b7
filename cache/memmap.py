"""Large arrays in files without a name, which the kernel can move to disk if memory runs short."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

IN_MEMORY = 1 << 28  # bytes; smaller arrays are ordinary ones


def scratch_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A new array with undefined values. From 256 MiB on it is mapped from a file in the folder for temporary files.

    The file disappears with the array, or with the process, however that ends. Raises InputError if the folder has no
    room for it.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < IN_MEMORY:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # reports a full disk now; later it would be a SIGBUS
        except OSError as error:
            raise InputError(
                f"the table of embeddings needs {size / 1e9:.1f} GB in {folder} ({error.strerror}), where "
                f"{shutil.disk_usage(folder).free / 1e9:.1f} GB are free. Make room, or name a folder on a local disk "
                "by TMPDIR, as in\n    TMPDIR=/scratch python train.py ..."
            ) from error
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)
