"""A process that does some work again and again in forks of itself, and kills them where it is told to.

It reads lines of JSON, [work, folder, more, seconds or null], and answers with [killed, seconds]. It never
does any of the work itself, since libraries that have threads do not survive a fork.
"""
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from region_worker import ZONE, embedded

from alphaearth_nb import field_stores
from alphaearth_nb.ee_fields import export_cog
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.fields import make_field

NAMES = 'gs://bucket/field.tif', 'projects/my-project/assets/field'


def some_field(side:int = 140):
    "A field of noise in codes."
    vectors = np.random.default_rng(0).normal(size=(side, side, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return make_field(vectors, ZONE.expand((side, side)), '2024').aef.codes()


def zarr(folder:Path, more:object) -> None: some_field().aef.to_zarr(folder/'field.zarr')
def cog(folder:Path, more:object) -> None:
    export_cog(some_field(), folder/'field.tif', *NAMES, overwrite=True)
def region(folder:Path, more:object) -> None: embedded(folder, grid=ZONE[:64, :64])


def frames(folder:Path, more:object) -> None:
    box, url = more
    os.environ['AE_CACHE_DIR'] = str(folder)
    fetch_frames(box, '2022-01', url, ['sentinel2', 'landsat'], quiet=True)


def one(work:str, folder:str, more:object, seconds:float|None) -> tuple[bool, float]:
    "Do it in a fork."
    began, child = time.monotonic(), os.fork()
    if not child:
        with contextlib.suppress(BaseException): globals()[work](Path(folder), more)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError): os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), time.monotonic() - began


if __name__ == '__main__':
    field_stores.SHARD_PX = field_stores.CHUNK_PX = 64
    for line in sys.stdin: print(json.dumps(one(*json.loads(line))), flush=True)
