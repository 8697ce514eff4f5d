"""Environments of their own for tests: empty ones, filled as `make venv` fills its own."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

UV = Path(sys.executable).parent/'uv'
OURS = re.compile(r'PYTHON|PIP_|UV_|VIRTUAL_ENV|JUPYTER|CONDA')
UNREACHED = re.compile(r'Failed to fetch|error sending request|dns error|connectivity is disabled', re.I)
NOWHERE = 'http://127.0.0.1:9'  # nothing listens there


def plain(**more:str) -> dict[str, str]:
    "Variables of this process without those that would lead a child back into this environment."
    return {key: value for key, value in os.environ.items() if not OURS.match(key)} | more


def offline() -> dict[str, str]:
    "Variables under which whatever asks beyond this machine is told at once that nobody is there."
    names = [name for low in ('http_proxy', 'https_proxy', 'all_proxy') for name in (low, low.upper())]
    here = dict.fromkeys(('no_proxy', 'NO_PROXY'), '127.0.0.1,localhost')
    return plain(**dict.fromkeys(names, NOWHERE), **here)


def run(*command:object, cwd:Path, env:dict|None=None) -> str:
    "Run a program away from the checkout; its standard output."
    env = plain() if env is None else env
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def make(folder:Path, python:str|Path=sys.executable) -> Path:
    "Make an empty environment; its interpreter."
    run(UV, 'venv', '-q', '--no-project', '--python', python, folder, cwd=folder.parent)
    return folder/'bin'/'python'


def _links() -> str:
    "Folder of wheels that pip knows, as the Makefile asks for it; '' for none."
    given = os.environ.get('UV_FIND_LINKS') or os.environ.get('PIP_FIND_LINKS')
    asked = [sys.executable, '-m', 'pip', 'config', 'get', 'global.find-links']
    told = given or subprocess.run(asked, capture_output=True, text=True).stdout
    return ','.join(told.replace(',', ' ').split())


def install(python:Path, *wanted:object) -> None:
    "Install in the tested versions: from uv's cache, else from the network; skip the test if there is none."
    links, own = _links(), {key: value for key, value in os.environ.items() if key.startswith('UV_')}
    env = plain(**own, **({'UV_FIND_LINKS': links} if links else {}))
    backend = () if links else ('--torch-backend', 'cpu')
    command = (UV, 'pip', 'install', '-q', '--python', python, '-c', ROOT/'constraints.txt')
    ways = [(*command, '--offline', *backend), (*command, *backend), command]
    for way in ways:
        done = subprocess.run([*map(str, way), *map(str, wanted)], cwd=python.parent, env=env,
                              capture_output=True, text=True)
        if done.returncode == 0: return
    if UNREACHED.search(done.stderr): pytest.skip(f'the packages cannot be had: {done.stderr.strip()[-300:]}')
    pytest.fail(done.stderr[-3000:], pytrace=False)
