"""Sets the synthetic farmland's months beside real ones, by class: median and spread of NDVI, VV and VH.

    python tests/studies/seasons.py            two tables in Markdown, for the page `signals`
    python tests/studies/seasons.py materials  reflectance and backscatter of each material, real and used

Reads ../shared/data: the Belgian composites (20 months, with WorldCereal's crop maps), Canada and the Belgian
declarations (parquet, needs pyarrow), NDVI of Slovenia. It never reads the place wc_flanders2018, by which
tests/test_synthetic.py judges the world.
"""
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

from alphaearth_nb.landscape import CLASSES, USES
from alphaearth_nb.periods import to_ms
from alphaearth_nb.signals import MATERIALS, true_values
from alphaearth_nb.synthetic import SyntheticWorld

DATA = Path(__file__).resolve().parents[3]/'shared'/'data'
BANDS = ('B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12', 'VV', 'VH')
BLUE_MOST = .12          # brighter monthly values are cloud or snow
SEEDS, YEARS = range(12), (2018, 2019, 2021)
SHOWN = ('maize', 'winter cereal', 'root crop', 'grass', 'forest')
Months = dict[int, np.ndarray]     # {month: (n, 12) values as BANDS}


def physical(stored:np.ndarray, band:str) -> np.ndarray:
    "Reflectance or dB from the numbers that WorldCereal stores."
    stored = np.where((stored == 65535) | (stored == 0), np.nan, stored.astype(float))
    return 20*np.log10(stored) - 83 if band[0] == 'V' else stored/1e4


def ndvi(values:np.ndarray) -> np.ndarray:
    "Of (..., 12) values."
    return (values[..., 3] - values[..., 2])/(values[..., 3] + values[..., 2])


def by_month(values:np.ndarray, months:np.ndarray) -> Months:
    "Sort (t, n, 12) values into months, without clouds and snow."
    found = {}
    for month in range(1, 13):
        part = values[months == month].reshape(-1, 12)
        part[part[:, 0] > BLUE_MOST, :10] = np.nan
        found[month] = part
    return found


def belgium() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    "Values (t, y, x, 12), months (t,), and a map (y, x) of each class, edges left out."
    data = xr.open_dataset(next(DATA.glob('WORLDCEREAL-INPUTS-10m_belgium*.nc')), mask_and_scale=False)
    layers = []
    for band in BANDS:
        name = band if band in data else band.replace('B0', 'B')
        stored = data[name].values.view(np.uint16) if name in data else np.zeros(data.B2.shape, np.uint16)
        layers.append(physical(stored, band))
    maps = {name: data[f'WORLDCEREAL_{name}_2021'].values == 100 for name in
            ('TEMPORARYCROPS', 'WINTERCEREALS', 'SPRINGCEREALS', 'MAIZE-MAIN')}
    crops = maps['TEMPORARYCROPS']
    cereals = maps['WINTERCEREALS'] | maps['SPRINGCEREALS']
    values, months = np.stack(layers, -1), data.t.values.astype('datetime64[M]').astype(int) % 12 + 1
    summer = np.nanmedian(ndvi(values)[(months > 4) & (months < 10)], 0)
    vh = np.nanmedian(values[..., 11], 0)
    other, green = crops & ~cereals & ~maps['MAIZE-MAIN'], ~crops & (summer > .6)
    found = {'maize': maps['MAIZE-MAIN'], 'winter cereal': maps['WINTERCEREALS'], 'root crop': other,
             'grass': green & (vh < -17), 'forest': green & (vh > -16)}
    inside = {name: ndimage.binary_erosion(mask, np.ones((3, 3))) for name, mask in found.items()}
    return values, months, inside | {'arable': ndimage.binary_erosion(crops, np.ones((3, 3)))}


def belgian_season(values:np.ndarray, months:np.ndarray, masks:dict, kind:str) -> Months:
    "Months of one class; of crops only September 2020 to November 2021, the season that the maps tell of."
    season = slice(1, 16) if kind in ('maize', 'winter cereal', 'root crop') else slice(None)
    return by_month(values[season][:, masks[kind]], months[season])


def declared() -> dict[str, Months]:
    "Grass, maize and wood of the Belgian declarations."
    import pandas as pd
    table = pd.read_parquet(DATA/'worldcereal_dataset.parquet')
    layers = []
    for band in BANDS:
        name = f'SAR-{band}' if band[0] == 'V' else f'OPTICAL-{band}'
        size = '10m' if f'{name}-ts0-10m' in table else '20m'
        columns = [table[f'{name}-ts{i}-{size}'].to_numpy(float) for i in range(16)]
        layers.append(physical(np.stack(columns), band))
    values, months = np.stack(layers, -1), (np.arange(16) + 7) % 12 + 1
    crop, cover = table['CROPTYPE_LABEL'].to_numpy(), table['WORLDCOVER-LABEL-10m'].to_numpy()
    masks = {'grass': crop == 9120, 'maize': crop == 1200, 'forest': (cover == 10) & (crop == 0)}
    return {name: by_month(values[:, mask], months) for name, mask in masks.items()}


def canada() -> dict[str, Months]:
    "Labelled pixels of 2017 and 2018; winter is snow there."
    import pandas as pd
    table = pd.read_parquet(DATA/'can2017_s1s2era5_pixels_dev.parquet')
    months = (pd.to_datetime(table.timestamp) + pd.Timedelta(days=2)).dt.month.to_numpy()
    layers = []
    for band in BANDS:
        name = f'S2-L2A-{band}' if band[0] == 'B' else f'S1-SIGMA0-{band}'
        stored = table[name].to_numpy(float) if name in table else np.zeros(len(table))
        layers.append(physical(stored, band))
    values = np.stack(layers, -1)[:, None]
    crop, cover = table.CROPTYPE_LABEL.to_numpy(), table.LANDCOVER_LABEL.to_numpy()
    masks = {'maize': crop == 1200, 'winter cereal': crop == 1110, 'root crop': crop == 5100,
             'grass': crop == 9120, 'forest': np.isin(cover, (20, 41, 42)), 'town': cover == 50,
             'water': cover == 70, 'conifers': cover == 42}
    return {name: by_month(values[mask], months[mask]) for name, mask in masks.items()}


def synthetic() -> dict[str, Months]:
    "Truth on three days of each month at pixels that are not mixed."
    found = {name: {month: [] for month in range(1, 13)} for name in CLASSES}
    for seed in SEEDS:
        for year in YEARS[seed % len(YEARS):][:1]:
            land = SyntheticWorld(seed, 64).land
            pure = (land.quarters == land.parcel).all(0)
            days = [f'{year}-{month:02d}-{day:02d}' for month in range(1, 13) for day in (5, 15, 25)]
            parts = (('sentinel2', BANDS[:10]), ('sentinel1', BANDS[10:]))
            bands = [true_values(land, name, names, to_ms(days)) for name, names in parts]
            values = np.concatenate(bands, 1).transpose(0, 2, 3, 1)
            for number, name in enumerate(CLASSES):
                mask = pure & (land.kind[land.parcel] == number)
                for month in range(1, 13):
                    found[name][month].append(np.median(values[3*month - 3:3*month, mask], 0))
    return {name: {month: np.concatenate(parts) for month, parts in rows.items()}
            for name, rows in found.items()}


def middle(values:np.ndarray, digits:int) -> str:
    "Median and half of the range that holds two thirds, or a dash."
    values = values[np.isfinite(values)]
    if len(values) < 5: return '–'
    low, mid, high = np.percentile(values, (16, 50, 84))
    return f'{mid:.{digits}f} ± {(high - low)/2:.{digits}f}'


def table(sources:dict[str, dict[str, Months]], take, digits:int) -> str:
    "One row a month, one column a class and source."
    columns = [(kind, name) for kind in SHOWN for name in sources if kind in sources[name]]
    rows = [['month', *(f'{kind}, {name}' for kind, name in columns)], ['---']*(len(columns) + 1)]
    for month in range(1, 13):
        cells = (middle(take(sources[name][kind][month]), digits) for kind, name in columns)
        rows.append([str(month), *cells])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def slovenia() -> None:
    "NDVI of Slovenian forest and grass by month, as the satellite saw it, without correction of the air."
    folder = DATA/'eolearn_slovenia'
    cover, green, cloud = (np.load(folder/f'{name}.npy')[..., 0] for name in
                           ('mask_timeless_LULC', 'data_NDVI', 'mask_CLM'))
    dates = np.array(json.loads((folder/'timestamps.json').read_text()), 'datetime64[M]').astype(int) % 12 + 1
    for number, name in ((2, 'forest'), (3, 'grass')):
        inside = ndimage.binary_erosion(cover == number)
        parts = [np.where(cloud == 0, green, np.nan)[dates == month][:, inside] for month in range(1, 13)]
        print(f'Slovenia, {name}, NDVI by month:', ', '.join(middle(part.ravel(), 2) for part in parts))


def materials(fields:tuple, plots:dict, trees:dict) -> None:
    "Print the median of each material where it fills the view, and what the world uses."
    values, months, masks = fields

    def pixels(kind:str, low:float, high:float, wanted:tuple) -> np.ndarray:
        part = values[np.isin(months, wanted)][:, masks[kind]].reshape(-1, 12)
        return part[(ndvi(part) > low) & (ndvi(part) < high) & (part[:, 0] < .15)]

    def of(table:dict, low:float, high:float, wanted:tuple) -> np.ndarray:
        part = np.concatenate([table[month] for month in wanted])
        return part[(ndvi(part) > low) & (ndvi(part) < high)]

    warm = tuple(range(5, 10))
    bare = (4, 5, 10, 11)
    real = {'soil': (pixels('arable', 0, .2, (2, 3, 4, 5, 8, 9)), of(trees['maize'], .08, .2, bare)),
            'maize': (pixels('maize', .84, 1, (7, 8, 9)), of(trees['maize'], .84, 1, warm)),
            'cereal': (pixels('winter cereal', .84, 1, (4, 5, 6)), of(trees['winter cereal'], .84, 1, warm)),
            'beet': (pixels('root crop', .84, 1, (7, 8, 9)),),
            'potato': (of(trees['root crop'], .7, 1, warm),),
            'grass': (of(plots['grass'], .82, 1, tuple(range(1, 13))), of(trees['grass'], .84, 1, warm)),
            'catch': (pixels('arable', .8, 1, (10, 11, 12)),),
            'leaf': (of(plots['forest'], .6, 1, (6, 7, 8)), of(trees['forest'], .84, 1, warm)),
            'needles': (of(trees['conifers'], .4, 1, bare),),
            'litter': (of(plots['forest'], 0, .65, (12, 1, 2, 3)),),
            'straw': (pixels('winter cereal', .1, .35, (7, 8, 9)),),
            'water': (of(trees['water'], -1, 1, warm),)}
    for name, row in MATERIALS.items():
        for part in real.get(name, ()):
            shown = ' '.join(f'{value:6.3f}' for value in np.nanmedian(part, 0)) if len(part) > 2 else '–'
            print(f'{name:8s} real {len(part):5d} {shown}')
        print(f'{name:8s} used       {" ".join(f"{value:6.3f}" for value in row)}')


def main() -> None:
    warnings.simplefilter('ignore', RuntimeWarning)     # months without a clear value
    fields = belgium()
    try: plots, trees = declared(), canada()
    except ImportError: sys.exit('pyarrow is needed to read the parquet files: pip install pyarrow')
    if 'materials' in sys.argv: return materials(fields, plots, trees)
    maps = {kind: belgian_season(*fields, kind) for kind in SHOWN}
    for kind in ('grass', 'forest'):      # declarations and maps together
        maps[kind] = {month: np.concatenate([maps[kind][month], plots[kind][month]]) for month in maps[kind]}
    sources = {'Belgium': maps, 'Canada': {kind: trees[kind] for kind in SHOWN}, 'synthetic': synthetic()}
    for title, take, digits in (('NDVI', ndvi, 2), ('VV, dB', lambda values: values[:, 10], 1),
                                ('VH, dB', lambda values: values[:, 11], 1)):
        print(f'\n{title}\n\n{table(sources, take, digits)}')
    slovenia()
    print(f'\n{len(USES)} uses of the land; synthetic: seeds {SEEDS}, years {YEARS}')


if __name__ == '__main__': main()
