"""Ground that can be opened anywhere, a small model for it, and a process that embeds a region, and may be
told where to stop: `python region_worker.py '{"out": …, "stop": "part", "at": 5}'`.
"""
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.readers import make_frames
from alphaearth_nb.regions import EmbeddedRegion, embed_region
from alphaearth_nb.settings import ModelConfig, STPConfig

DAYS = ('2018-05-03', '2018-05-13')
PERIOD, TILE_PX = '2018-05', 32
BANDS, CORES = ('B02', 'B04'), 20
ZONE = GeoBox((96, 128), Affine(10, 0, 600_050, 0, -10, 5_640_070), 'EPSG:32631')   # 4 x 5 tiles of 32 px


def small_model() -> AlphaEarth:
    "Untrained, with every operator made loud; always the same."
    config = ModelConfig(name='region', decoder_width=16, summary_width=16, summary_queries=1,
        bands={'sentinel2': BANDS},
        stp=STPConfig(blocks=1, space_width=32, time_width=16, precision_width=16, heads=2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlphaEarth(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():     # the enlarging stays even, 2 x 2 alike
                if 'upsample' not in name: parameter.add_(torch.randn_like(parameter)*.1)
    return model


def ground(window:GeoBox, fine_m:float=40) -> FrameSequence:
    "Two frames that depend on the coordinates of the zone only."
    x, y = (window.affine @ (np.arange(side) + .5, np.arange(side) + .5) for side in window.shape[::-1])
    x, y = x[0], y[1][:, None]
    fine = np.sin(x/fine_m) + np.cos(y/fine_m) + np.sin((x + y)/400)                            # (h, w)
    values = .15 + .04*np.stack([np.stack([fine, -fine]), np.stack([fine**2, fine])])          # (n, c, h, w)
    return FrameSequence({'sentinel2': make_frames('sentinel2', BANDS, values, DAYS)}, window)


def embedded(folder, opener=ground, grid=ZONE, model=None, name='field.tif', **options) -> EmbeddedRegion:
    "Embed a region with small tiles."
    options = {'tile_px': TILE_PX, 'quiet': True, **options}
    return embed_region(model or small_model(), opener, grid, PERIOD, Path(folder)/name, **options)


def stop_at_rename(kind:str, at:int) -> None:
    "Say so and wait for the end before the at-th renaming of a part, a sheet or the whole."
    rename, seen = os.replace, 0
    def replace_file(source, target):
        nonlocal seen
        name = Path(target).name
        within = Path(target).parent.name == 'whole'
        whole = name == 'field.tif' and not within
        mine = {'part': name.endswith('.part'), 'sheet': within, 'whole': whole}[kind]
        seen += mine
        if mine and seen == at:
            print('stopped', flush=True)
            time.sleep(600)        # until it is killed
        rename(source, target)
    os.replace = replace_file


if __name__ == '__main__':
    torch.set_num_threads(1)
    order = json.loads(sys.argv[1])
    if order.get('stop'): stop_at_rename(order['stop'], order['at'])
    found = embedded(Path(order['out']).parent, worker=order.get('worker', 0))
    print('done' if found else 'nothing left', flush=True)
