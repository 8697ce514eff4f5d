"""AlphaEarth Foundations in PyTorch, and its embedding fields compared, probed and searched.

`import alphaearth_nb as ae` loads nothing else: each name below is fetched from its page when it is
first used (PEP 562). This is the one module written by hand; all others are exported from nbs/.
"""
__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING: # for editors, which do not run __getattr__
    from .agreement import compare
    from .calibration import calibrate, plot_calibration
    from .changes import Change, change
    from .change_map import ChangeMap
    from .clusters import cluster_field
    from .compare_map import CompareMap
    from .area_estimates import design_areas
    from .distance_ranks import distance_rank_agreement
    from .distillation import hold_out, reached
    from .stability import drift
    from .ee_upload import upload
    from .evaluation import evaluate
    from .evaluation_card import Evaluation
    from .evaluation_tables import read_table
    from .fetch import fetch_frames
    from .field_stores import read_zarr
    from .frames import FrameSequence
    from .inference import embed
    from .maps import add_field
    from .model import AlphaEarth
    from .more_baselines import place_baselines
    from .nearest import nearest_labels
    from .periods import Period
    from .places import open_field, open_frames
    from .plots import plot_compare, plot_probe
    from .points import gbif_points, wikipedia_points
    from .probe_map import ProbeMap
    from .probes import fit_probe
    from .queries import find, fit_text_head
    from .regions import embed_region, open_region
    from .release import released
    from .release_samples import sample_released
    from .report import build_report
    from .search_map import SearchMap
    from .searching import search
    from .shifts import shift_agreement
    from .sources import add_source
    from .synthetic import SyntheticWorld, synthetic_place
    from .table_download import paper_table
    from .table_features import joined
    from .text import text_encoder
    from .training import train
    from .exact_agreement import whole_agreement

_PAGES = { # public name: page (module) that defines it
    'AlphaEarth': 'model',
    'Change': 'changes',
    'ChangeMap': 'change_map',
    'CompareMap': 'compare_map',
    'Evaluation': 'evaluation_card',
    'FrameSequence': 'frames',
    'Period': 'periods',
    'ProbeMap': 'probe_map',
    'SearchMap': 'search_map',
    'SyntheticWorld': 'synthetic',
    'add_field': 'maps',
    'add_source': 'sources',
    'build_report': 'report',
    'calibrate': 'calibration',
    'change': 'changes',
    'cluster_field': 'clusters',
    'compare': 'agreement',
    'design_areas': 'area_estimates',
    'distance_rank_agreement': 'distance_ranks',
    'drift': 'stability',
    'embed': 'inference',
    'embed_region': 'regions',
    'evaluate': 'evaluation',
    'fetch_frames': 'fetch',
    'find': 'queries',
    'fit_probe': 'probes',
    'fit_text_head': 'queries',
    'gbif_points': 'points',
    'hold_out': 'distillation',
    'joined': 'table_features',
    'nearest_labels': 'nearest',
    'open_field': 'places',
    'open_frames': 'places',
    'open_region': 'regions',
    'paper_table': 'table_download',
    'place_baselines': 'more_baselines',
    'plot_calibration': 'calibration',
    'plot_compare': 'plots',
    'plot_probe': 'plots',
    'reached': 'distillation',
    'read_table': 'evaluation_tables',
    'read_zarr': 'field_stores',
    'released': 'release',
    'sample_released': 'release_samples',
    'search': 'searching',
    'shift_agreement': 'shifts',
    'synthetic_place': 'synthetic',
    'text_encoder': 'text',
    'train': 'training',
    'upload': 'ee_upload',
    'whole_agreement': 'exact_agreement',
    'wikipedia_points': 'points',
}
__all__ = ['__version__', *_PAGES]


def __getattr__(name:str) -> object:
    "Fetch a public name from its page and keep it."
    if name not in _PAGES: raise AttributeError(f"module 'alphaearth_nb' has no attribute {name!r}")
    from importlib import import_module
    value = getattr(import_module(f'alphaearth_nb.{_PAGES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    "List the public names, fetched or not."
    return sorted(__all__)
