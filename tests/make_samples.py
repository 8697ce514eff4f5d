"""Makes the samples that travel with the project; tests/test_samples.py fails when they are stale.

    python tests/make_samples.py          write data_samples/ and alphaearth_nb/static/places/
    python tests/make_samples.py --check  print the SHA-256 of the content of what is there

The hash is of the arrays, not of the compressed files, so another version of a compressor does not matter.
"""
import dataclasses
import hashlib
import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from alphaearth_nb.fields import make_field, read_cog
from alphaearth_nb.frames import FrameSequence, _hashes
from alphaearth_nb.landscape import stream
from alphaearth_nb.periods import Period, to_ms
from alphaearth_nb.readers import ARRAYS
from alphaearth_nb.settings import AT_HAND
from alphaearth_nb.synthetic import SyntheticWorld, true_values

ROOT = Path(__file__).resolve().parents[1]
FARMLAND, FIELD = ROOT/'data_samples'/'synthetic_farmland.zarr', ROOT/'data_samples'/'stand_in_field.tif'
TINY, README = ROOT/'alphaearth_nb'/'static'/'places'/'synthetic_tiny.zarr', ROOT/'data_samples'/'README.md'
SEED, TINY_SEED, YEAR = 7, 11, 2018
STEPS = {'sentinel2': 2**-12, 'sentinel1': 2**-5, 'landsat': 2**-12, 'kelvin': 2**-3}  # finer than the noise
EVERY = {'sentinel2': 5, 'sentinel1': 6, 'landsat': 6}     # of the frames, in the tiny place
STAND_IN = 'stand-in: random projection of the truth of a synthetic place, not a model, not a released field'


def world() -> SyntheticWorld: return SyntheticWorld(SEED)


def rounded(frames:FrameSequence, coarser:int=1) -> FrameSequence:
    "Values in steps that compress well and are finer than the noise."
    found = {}
    for name, source in frames.items():
        step = np.full((len(source.bands), 1, 1), coarser*STEPS[name], np.float32)
        if name == 'landsat': step[source.bands.index('B10')] = STEPS['kelvin']
        values = np.round(source.values/step)*step
        found[name] = dataclasses.replace(source, values=values.astype(np.float32))
    return dataclasses.replace(frames, frames=found)


def farmland() -> FrameSequence:
    "The place of data_samples."
    return dataclasses.replace(rounded(world().frames()), name='synthetic_farmland')


def tiny() -> FrameSequence:
    "A smaller place for the wheel: all classes, all sources, few frames."
    options = dict(start=f'{YEAR}-01-01', days=365, cloudiness=.25, labelled=1.)
    frames = SyntheticWorld(TINY_SEED, 32, **options).frames()
    kept = {name: source.take(np.arange(len(source)) % EVERY[name] == 0) for name, source in frames.items()}
    return rounded(dataclasses.replace(frames, frames=kept, name='synthetic_tiny'), 4)


def annual_state(place:SyntheticWorld) -> np.ndarray:
    "Noiseless values (h, w, 144) of Sentinel-2 and Sentinel-1 in the middle of each month."
    times = to_ms([f'{YEAR}-{month:02d}-15T11:00' for month in range(1, 13)])
    parts = [true_values(place.land, name, AT_HAND[name], times) for name in ('sentinel2', 'sentinel1')]
    return np.concatenate(parts, 1).reshape(-1, *place.shape).transpose(1, 2, 0)


def stand_in_field() -> xr.DataArray:
    "Codes that stand in for a released field: the annual state of each pixel, projected onto the sphere."
    known = annual_state(SyntheticWorld(0)).reshape(-1, 144).astype(np.float64)   # sets the scale for all
    state = (annual_state(world()).astype(np.float64) - known.mean(0))/known.std(0)
    vectors = np.clip(state, -3, 3) @ stream(0, 'change', 64).standard_normal((144, 64))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    field = make_field(vectors.astype(np.float32), world().grid, Period.year(YEAR), model=STAND_IN,
                       attrs={'dataset': STAND_IN})
    return field.aef.codes()


# ---- files

def _pack(path:Path) -> None:
    "Write the arrays of a store again in one chunk each, with their bits shuffled: half the size."
    import zarr
    from zarr.codecs import BloscCodec
    packer = BloscCodec(cname='zstd', clevel=9, shuffle='bitshuffle')
    groups = [zarr.open_group(str(path), mode='r+')]
    while groups:
        group = groups.pop()
        groups += [part for _, part in group.groups()]
        for name, array in list(group.arrays()):
            data = array[:]
            group.create_array(name, data=data, chunks=data.shape, compressors=packer, overwrite=True)
    (path/'manifest.json').write_text(json.dumps({'sha256': _hashes(path)}, indent=1))


def content(frames:FrameSequence) -> str:
    "SHA-256 of all arrays of a sequence."
    digest = hashlib.sha256(f'{frames.name} {frames.grid.affine[:6]} {frames.grid.crs}'.encode())
    for name, source in frames.items():
        digest.update(f'{name} {source.bands}'.encode())
        for key in ARRAYS: digest.update(np.ascontiguousarray(getattr(source, key)).tobytes())
    for key in sorted(frames.labels.data_vars):
        digest.update(frames.labels[key].values.astype('<i8').tobytes())
    return digest.hexdigest()


def hashes() -> dict[str, str]:
    "SHA-256 of the content of each sample that is there."
    found = {str(path.relative_to(ROOT)): content(FrameSequence.from_zarr(path)) for path in (FARMLAND, TINY)}
    codes = np.ascontiguousarray(read_cog(FIELD).values)
    return found | {str(FIELD.relative_to(ROOT)): hashlib.sha256(codes.tobytes()).hexdigest()}


def write() -> None:
    TINY.parent.mkdir(parents=True, exist_ok=True)
    for path, frames in ((FARMLAND, farmland()), (TINY, tiny())):
        frames.to_zarr(path, overwrite=True)
        _pack(path)
    stand_in_field().aef.to_cog(FIELD, overwrite=True)
    text = README.read_text(encoding='utf-8')
    for name, digest in hashes().items():     # the hash is the last cell of the row that names the file
        text = re.sub(rf'(\| `{re.escape(name)}`.*\| )`[0-9a-f]*`( \|)', rf'\g<1>`{digest}`\g<2>', text)
    README.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    warnings.filterwarnings('ignore', 'Object at manifest.json')
    if '--check' not in sys.argv: write()
    for sample, digest in hashes().items(): print(digest, sample)
