"""What all tests share: real data if it is there, a cache of their own, no network but this machine."""
import os
import socket
from pathlib import Path

import hypothesis
import pytest
from browser import chromium, jupyter, lab, session  # noqa: F401  (fixtures)
from pages import ROOT

SHARED_DATA = ROOT.parent/'shared'/'data'
LOCAL = ('127.', '::1', 'localhost', '0.0.0.0')

# Examples are the same in every run and may take their time: the machine may be busy.
hypothesis.settings.register_profile('house', deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile('house')


@pytest.fixture(scope='session')
def root() -> Path: return ROOT


@pytest.fixture(scope='session')
def shared_data() -> Path:
    "Folder of real data beside the project; tests that need it are skipped where it is absent."
    if not SHARED_DATA.is_dir(): pytest.skip('the folder ../shared/data with real satellite data is not here')
    return SHARED_DATA


@pytest.fixture(scope='session')
def flanders(shared_data) -> Path:
    "One real place: every acquisition of three sensors over Flanders, 2017-08 to 2018-11."
    folder = shared_data/'wc_flanders2018'
    if not folder.is_dir(): pytest.skip('the folder ../shared/data/wc_flanders2018 is not here')
    return folder


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
    "Nothing is read from or written to the user's cache, in child processes neither."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('AE_CACHE_DIR', str(tmp_path_factory.mktemp('cache')))
        patch.setenv('MPLBACKEND', 'agg')
        yield Path(os.environ['AE_CACHE_DIR'])


@pytest.fixture(scope='session', autouse=True)
def no_network():
    "A test that wants something from outside this machine fails at once, on every machine."
    connect = socket.socket.connect

    def guarded(self, address):
        if isinstance(address, tuple) and not str(address[0]).startswith(LOCAL):
            raise OSError(f'tests may not reach {address[0]}')
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, 'connect', guarded)
        yield
