"""Files of two zones that cover the ground unevenly: which of them gives a pixel; files that are misnamed."""
import numpy as np
import pytest
from object_store import Host, box_of, cut, grid_at, row, some_codes, write_index, write_tile

from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.core import FieldError
from alphaearth_nb.grids import lonlat_transformer, pixels_of_points
from alphaearth_nb.release import released

SOUTH = 4_900_000
GRIDS = {   # 84 degrees west is at about 739,400 m in zone 16 and 260,600 m in zone 17
    '16N/xa-0': grid_at(738_800, SOUTH, 16, 96, 150), '16N/xb-0': grid_at(739_000, SOUTH + 700, 16, 40, 130),
    '17N/xc-0': grid_at(260_100, SOUTH - 100, 17, 60, 100),
    '17N/xd-0': grid_at(260_500, SOUTH + 300, 17, 40, 90)}
BOX = (-84.006, 44.2125, -83.996, 44.2215)


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    "Two files of each zone that overlap: their codes and a host."
    folder = tmp_path_factory.mktemp('zones')
    codes = {name: some_codes(*grid.shape, seed) for seed, (name, grid) in enumerate(GRIDS.items())}
    for name, grid in GRIDS.items(): write_tile(folder/f'2024/{name}.tiff', codes[name], grid)
    write_index(folder, [row(f'2024/{name}', grid) for name, grid in GRIDS.items()])
    host = Host(folder)
    yield host, codes
    host.server.shutdown()


def by_rule(field, codes) -> tuple[np.ndarray, dict]:
    "Each pixel by itself: of its own zone where a file of that covers it, else of the other; and counts."
    lon, lat = lonlat_transformer(field.aef.grid).transform(*np.meshgrid(field.x, field.y))
    home = field.attrs['zone']
    order = sorted(GRIDS, key=lambda name: (not name.startswith(home), name))
    at = {name: pixels_of_points(GRIDS[name], lon, lat) for name in order}
    found = np.full(field.shape, NO_DATA, np.int8)
    counts = dict.fromkeys(['own', 'second', 'other', 'none'], 0)
    for y, x in np.ndindex(lon.shape):
        zone = '16N' if lon[y, x] < -84 else '17N'
        covers = [name for name in order if at[name][0][y, x] >= 0]
        own = [name for name in covers if name.startswith(zone)]
        kind = 'own' if own else 'other' if covers else 'none'
        for number, name in enumerate(own or covers):
            one = codes[name][:, at[name][0][y, x], at[name][1][y, x]]
            if one[0] == NO_DATA: continue
            found[:, y, x] = one
            kind = 'second' if own and number else kind
            break
        counts[kind] += 1
    return found, counts


def test_each_pixel_is_of_its_own_zone_where_a_file_covers_it(release):
    "Else of the other zone; where two overlap the first with data counts; a hole of the own zone stays one."
    host, codes = release
    field = released(BOX, 2024, url=host.url)
    expected, counts = by_rule(field, codes)
    assert min(counts[kind] for kind in ('own', 'second', 'other')) > 100, counts
    assert np.array_equal(field.values, expected)
    assert (expected == NO_DATA).all(0).any() and field.attrs['resampled']


def test_a_file_under_the_name_of_another_zone_is_refused(release, tmp_path):
    "Its pixels are not those of its neighbours: never read as if they were."
    _, codes = release
    for name, seed in (('16N/xa-0', '16N/xa-0'), ('16N/xz-0', '17N/xc-0')):
        write_tile(tmp_path/f'2024/{name}.tiff', codes[seed], GRIDS[seed])
    rows = [row('2024/16N/xa-0', GRIDS['16N/xa-0']), row('2024/16N/xz-0', GRIDS['17N/xc-0'])]
    write_index(tmp_path, rows)
    host = Host(tmp_path)
    with pytest.raises(FieldError, match='xz-0.tiff.*on another grid'): released(BOX, 2024, url=host.url)
    host.server.shutdown()


@pytest.mark.parametrize('shift', [(3, 0), (0, 4)])
def test_a_file_between_the_pixels_of_its_neighbours_is_refused(release, tmp_path, shift):
    "By three metres: copies of the nearest pixel would be passed off as the release."
    _, codes = release
    moved = grid_at(739_000 + shift[0], SOUTH + 700 + shift[1], 16, 40, 130)
    for name, grid in (('16N/xa-0', GRIDS['16N/xa-0']), ('16N/xb-0', moved)):
        write_tile(tmp_path/f'2024/{name}.tiff', codes[name], grid)
    write_index(tmp_path, [row('2024/16N/xa-0', GRIDS['16N/xa-0']), row('2024/16N/xb-0', moved)])
    host = Host(tmp_path)
    with pytest.raises(FieldError, match='xb-0.tiff.*on another grid'):
        released(box_of(moved[5:20, 5:20]), 2024, url=host.url)
    host.server.shutdown()


def test_a_region_in_one_zone_does_not_open_the_other(release):
    host, codes = release
    host.asked.clear()
    inside = GRIDS['16N/xa-0'][50:70, 5:25]
    field = released(box_of(inside), 2024, url=host.url)
    assert np.array_equal(field.values, cut(codes['16N/xa-0'], GRIDS['16N/xa-0'], field.aef.grid))
    assert not [name for name, *_ in host.asked if '/17N/' in name]
