"""Labelled pixel series of Canada, as the study canada.py reads them: units, places of 16 × 16, features.

A series is one pixel: 17 to 20 monthly composites of 2017 and 2018, optical (nine bands of Sentinel-2), radar
(Sentinel-1) and daily weather averaged (AgERA5), with the height of the ground. A composite has no instant of
its own; it is given the middle of its month, 12:00 UTC on the 15th. Stored are reflectance × 10,000, radar as
amplitude with dB = 20·log10(DN) − 83, temperature in hundredths of K, precipitation in hundredths of mm, and
65535 or 0 for no data. The file writes months by their first instant in the time of Brussels.
"""
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from alphaearth_nb.baselines import annual_median, harmonics, seasonal_medians, z_scores
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.readers import SourceFrames, make_frames
from alphaearth_nb.sources import standardize

DATA = Path(__file__).resolve().parents[2]/'../shared/data/can2017_s1s2era5_pixels_dev.parquet'
OPTICAL = ('B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B11', 'B12')
RADAR = ('VV', 'VH')
WEATHER = ('total_precipitation_sum', 'temperature_2m')
SIDE = 16                 # pixels; the smallest window that training takes, and a cell of the encoder
BLUE_MOST = .2            # brighter composites are cloud or snow: read, but no target and in no median
YEAR = '2017'             # what the labels tell of, and what every feature describes
NAMES = {1110: 'winter wheat', 1120: 'spring wheat', 1200: 'maize', 1520: 'spring barley', 4100: 'soya',
         7920: 'permanent legumes', 9120: 'permanent grass', 0: 'no crop'}    # WorldCereal's legend
CODES = (1110, 1120, 1200, 1520, 4100, 7920, 9120, 0)                         # class 1, 2, … of the study
# codes of CDL, the crop map that the paper decodes, for those of WorldCereal: crops, then land cover
CDL = {1110: 24, 1120: 23, 1200: 1, 1500: 21, 1510: 21, 1520: 21, 1610: 27, 1700: 28, 3460: 242, 3510: 68,
       4100: 5, 4350: 31, 4380: 6, 5100: 43, 7100: 42, 7700: 53, 7920: 36, 9120: 176}
CDL_COVER = {30: 152, 40: 141, 41: 142, 42: 143, 60: 82, 70: 111}


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    "n pixel series of t months."
    ids:np.ndarray       # (n,) names
    cells:np.ndarray     # (n,) cell of the H3 grid, level 3: about 12,000 km²
    classes:np.ndarray   # (n,) int number in CODES, from 1; 0 is left out
    cdl:np.ndarray       # (n,) float32 code of the crop or cover in CDL, NaN where it has none
    lonlat:np.ndarray    # (n, 2) degrees
    times:np.ndarray     # (t,) datetime64[ms] middle of each month
    optical:np.ndarray   # (t, 9, n) float32 reflectance, NaN where there is no data
    radar:np.ndarray     # (t, 2, n) float32 dB
    weather:np.ndarray   # (t, 2, n) float32 m of rain in the month, K
    height_m:np.ndarray  # (n,) float32

    def __len__(self) -> int: return len(self.ids)

    def take(self, rows:np.ndarray) -> 'Series':
        "Keep some of the series: (n,) bool or numbers."
        last = {'optical', 'radar', 'weather'}
        parts = {name: part if name == 'times' else part[..., rows] if name in last else part[rows]
                 for name, part in vars(self).items()}
        return Series(**parts)

    @property
    def clear(self) -> np.ndarray: return ~(self.optical[:, 0] > BLUE_MOST)   # (t, n)


def _cube(table, where:tuple, shape:tuple, names:list[str]) -> np.ndarray:
    "Columns of the table as (t, c, n), NaN where there is no data."
    found = np.full((shape[0], len(names), shape[1]), np.nan, np.float64)
    for i, name in enumerate(names):
        stored = table[name].to_numpy(np.float64)
        found[where[0], i, where[1]] = np.where((stored == 65535) | (stored == 0), np.nan, stored)
    return found


def _within(values:np.ndarray, low:float, high:float) -> np.ndarray:
    "float32, NaN outside of the legal range."
    with np.errstate(invalid='ignore'):
        return np.where((values >= low) & (values <= high), values, np.nan).astype(np.float32)


def read(path:Path=DATA) -> Series:
    "Read all series."
    import pandas as pd
    table = pd.read_parquet(path)
    months = (table.timestamp + pd.Timedelta(days=2)).to_numpy().astype('datetime64[M]')
    ids, times = np.unique(table.sample_id), np.unique(months)
    where = np.searchsorted(times, months), pd.Index(ids).get_indexer(table.sample_id)
    first, shape = table.drop_duplicates('sample_id').set_index('sample_id').loc[ids], (len(times), len(ids))
    crop, cover = first.CROPTYPE_LABEL.to_numpy(), first.LANDCOVER_LABEL.to_numpy()
    code = [CDL.get(one, np.nan) if one else CDL_COVER.get(other, np.nan) for one, other in zip(crop, cover)]
    with np.errstate(divide='ignore'):
        radar = 20*np.log10(_cube(table, where, shape, [f'S1-SIGMA0-{band}' for band in RADAR])) - 83
    optical = 1e-4*_cube(table, where, shape, [f'S2-L2A-{band}' for band in OPTICAL])
    weather = _cube(table, where, shape, ['AGERA5-precipitation-flux', 'AGERA5-temperature-mean'])
    return Series(ids=ids, cells=first.h3_l3_cell.to_numpy(str), cdl=np.array(code, np.float32),
                  classes=np.select([crop == code for code in CODES], range(1, len(CODES) + 1), 0),
                  lonlat=first[['lon', 'lat']].to_numpy(), optical=_within(optical, -.2, 2),
                  times=(times.astype('datetime64[h]') + (14*24 + 12)).astype('datetime64[ms]'),
                  radar=_within(radar, -30, 10), weather=np.stack([1e-5*weather[:, 0], .01*weather[:, 1]], 1
                                                                  ).astype(np.float32),
                  height_m=first['DEM-alt-20m'].to_numpy(np.float32))


# ---- places

def _tile(values:np.ndarray) -> np.ndarray:
    "Repeat (…) over a square of SIDE × SIDE pixels, without taking memory for it."
    return np.broadcast_to(values[..., None, None], (*values.shape, SIDE, SIDE))


def _source(name:str, bands:tuple, values:np.ndarray, times:np.ndarray, clear:np.ndarray|None
            ) -> SourceFrames:
    "Frames of one source from (t, c); months without any value are no frames."
    there = np.isfinite(values)
    kept = there.any(1)
    valid = there if clear is None else there.all(1, keepdims=True) & clear[:, None]
    return SourceFrames(source=name, bands=bands, values=_tile(values[kept]), bands_present=there[kept],
                        times=times[kept].astype(np.int64), present=np.ones(kept.sum(), bool),
                        valid_pixels=_tile(valid[kept]))


def screened(series:Series) -> Series:
    "The same without the optical months that show cloud or snow."
    return replace(series, optical=np.where(series.clear[:, None], series.optical, np.float32(np.nan)))


def place(series:Series, i:int, targets:tuple[str, ...]=()) -> FrameSequence:
    "A series as a place of 16 × 16 pixels that are all alike; weather and height only as targets."
    make = {'sentinel2': (OPTICAL, series.optical, series.clear), 'sentinel1': (RADAR, series.radar, None),
            'era5land': (WEATHER, series.weather, None)}
    frames = {name: _source(name, bands, values[:, :, i], series.times, seen if seen is None else seen[:, i])
              for name, (bands, values, seen) in make.items()
              if (name in targets or name != 'era5land') and np.isfinite(values[:, :, i]).any()}
    steady = {'glo30': ('elevation', series.height_m[i]), 'cdl': ('cropland', series.cdl[i])}
    for name, (band, value) in steady.items():
        if name in targets and np.isfinite(value):
            frames[name] = _source(name, (band,), value.reshape(1, 1), series.times[6:7], None)
    grid = GeoBox((SIDE, SIDE), Affine(10, 0, 500_000, 0, -10, 5_000_000), 'EPSG:32617')   # anywhere
    return FrameSequence(frames, grid, name=str(series.ids[i]))


# ---- features that need no model

def sheet(series:Series, clear:np.ndarray|None) -> FrameSequence: # clear: (t, n); None: everywhere
    "All series side by side, a pixel each, for the library's baselines."
    grid, seen = GeoBox((len(series), 1), Affine(10, 0, 0, 0, -10, 0), 'EPSG:32617'), clear
    optical = make_frames('sentinel2', OPTICAL, series.optical[..., None], series.times,
                          None if seen is None else seen[..., None])
    radar = make_frames('sentinel1', RADAR, series.radar[..., None], series.times)
    return FrameSequence({'sentinel2': optical, 'sentinel1': radar}, grid)


def filled(series:Series) -> np.ndarray: # (t, 11, n) float64
    "The months in the model's units, gaps filled along time, linearly."
    parts = (('sentinel2', OPTICAL, series.optical), ('sentinel1', RADAR, series.radar))
    found = np.concatenate([standardize(values[..., None], name, bands)[..., 0].astype(np.float64)
                            for name, bands, values in parts], 1)
    months = np.arange(len(found))
    for c, i in zip(*np.nonzero(np.isnan(found).any(0))):
        known = np.isfinite(found[:, c, i])
        if known.any(): found[:, c, i] = np.interp(months, months[known], found[known, c, i])
    return found


def components(features:np.ndarray, count:int) -> np.ndarray:
    "Project (n, d) onto its principal components."
    centred = features - features.mean(0)
    return centred@np.linalg.svd(centred, full_matrices=False)[2][:count].T


def baselines(series:Series) -> dict[str, np.ndarray]:
    "Every feature set that needs no model: {name: (n, d)}, of all composites and of those that are clear."
    found = {'position alone': z_scores(series.lonlat[:, None])[:, 0]}
    for words, part, clear in (('', series, None), (', clear ones', screened(series), series.clear)):
        frames, months = sheet(series, clear), filled(part)
        for name, make in (('annual median', annual_median), ('medians of four seasons', seasonal_medians),
                           ('harmonics', harmonics)): found[name + words] = make(frames, YEAR)[:, 0]
        for name, count in (('months of 2017', 12), ('months of 2017 and 2018', 18)):   # later: few series
            flat = months[:count].reshape(-1, len(series)).T
            found[name + words] = z_scores(flat[:, None])[:, 0]
            found[f'64 components of the {name}{words}'] = components(found[name + words], 64)
    return found
