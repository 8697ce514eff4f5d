"""Notebooks as people see them: JupyterLab 4 and Notebook 7 in a real Chromium, all of it on this machine.

Tests take the fixture `session` (once in JupyterLab, once in Notebook 7) or `lab` (JupyterLab only):

    def test_a_map(session):
        session.open(['import alphaearth_nb as ae', 'm = ae.CompareMap(a, b)\nm'], 'compare')
        session.run_all()
        session.wait("document.querySelector('.leaflet-container')")
        session.click('.leaflet-container', .5, .5)    # a share of its width and of its height
        session.until('m.clicked is not None')         # asked of the kernel, not of the page
        assert session.run('print(m.clicked)') == '(3, 4)'
        session.assert_offline()

Waiting is for states, never for times. `run` speaks to the notebook's kernel through a client of its own, so
the page is not touched. Pictures for people to look at go to build/screenshots. The server keeps its settings
and connection files in a folder of its own; Chromium resolves no name and reaches 127.0.0.1 only.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import environments
import pytest
from pages import ROOT

LOST = "document.body.innerText.includes('model not found')"
SCREENSHOTS = ROOT/'build'/'screenshots'
VIEWPORT = {'width': 1280, 'height': 720}
PATIENCE_S = 90  # until a state is given up; machines may be busy
NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
INSTALL = ('Chromium: apt-get install chromium', 'Playwright: .venv/bin/uv pip install playwright')
HERE = re.compile(r'(https?|wss?)://127\.0\.0\.1[:/]|(data|blob|about|chrome|chrome-extension):')
FLAGS = ['--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-sync',
         '--disable-background-networking', '--disable-component-update',
         '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']
PAGES = {'lab': 'lab/tree/{}?reset', 'notebook': 'notebooks/{}'}
THEMES = {'light': 'JupyterLab Light', 'dark': 'JupyterLab Dark'}
QUIET = {'fetchNews': 'false', 'checkForUpdates': False, 'doNotDisturbMode': True}
SETTINGS = {'apputils-extension/notification': QUIET,
            'apputils-extension/themes': {'theme': THEMES['light'], 'adaptive-theme': False},
            'docmanager-extension/plugin': {'autosave': False}}
PANEL = 'window.jupyterapp?.shell?.currentWidget'
IDLE = f"{PANEL}?.sessionContext?.session?.kernel?.status === 'idle'"
EXECUTE = 'words => window.jupyterapp.commands.execute(...words)'
TOLD = """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells
    .filter(cell => cell.cell_type === 'code').map(cell => [cell.source, cell.getOutputs()])"""


def missing() -> list[str]:
    "How to install what is not there."
    try: import playwright.sync_api  # noqa: F401
    except ImportError: return list(INSTALL) if not program() else [INSTALL[1]]
    return [] if program() else [INSTALL[0]]


def program() -> str|None:
    "The Chromium of this machine."
    return next(filter(None, map(shutil.which, NAMES)), None)


class Jupyter:
    "A Jupyter server on a free port of this machine that serves JupyterLab and Notebook 7 from a folder."

    def __init__(self, folder:Path):
        self.folder, self.home = folder/'notebooks', folder/'home'
        for each in (self.folder, self.home/'settings', self.home/'runtime'): each.mkdir(parents=True)
        self.forget_settings()
        shown = {'expose_app_in_browser': True}
        config = {'ServerApp': {'ip': '127.0.0.1', 'port': 0, 'open_browser': False, 'allow_root': True,
                                'root_dir': str(self.folder), 'disable_check_xsrf': True,
                                'jpserver_extensions': {'jupyterlab': True, 'notebook': True}},
                  'IdentityProvider': {'token': ''}, 'PasswordIdentityProvider': {'hashed_password': ''},
                  'LabApp': {**shown, 'news_url': None,
                             'check_for_updates_class': 'jupyterlab.NeverCheckForUpdate'},
                  'JupyterNotebookApp': shown}
        (self.home/'jupyter_server_config.json').write_text(json.dumps(config))
        self.log = folder/'server.log'
        with self.log.open('w') as log:
            self.process = subprocess.Popen([sys.executable, '-m', 'jupyter_server'], cwd=self.folder,
                                            env=self.env(), stdout=log, stderr=subprocess.STDOUT)
        self.url = self._wait()

    def env(self) -> dict[str, str]:
        "Variables of the server and its kernels: what they keep stays in its folder, nobody outside answers."
        places = {'JUPYTER_CONFIG_DIR': '', 'JUPYTER_DATA_DIR': 'data', 'JUPYTER_RUNTIME_DIR': 'runtime',
                  'JUPYTERLAB_SETTINGS_DIR': 'settings', 'JUPYTERLAB_WORKSPACES_DIR': 'workspaces',
                  'IPYTHONDIR': 'ipython'}
        return environments.offline() | {key: str(self.home/name) for key, name in places.items()}

    def forget_settings(self) -> None:
        "Settings as at first: no news, light theme."
        shutil.rmtree(self.home/'settings')
        for name, values in SETTINGS.items():
            path = self.home/'settings'/'@jupyterlab'/f'{name}.jupyterlab-settings'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def _wait(self) -> str:
        "Address of the server, as soon as it answers."
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.process.poll() is None:
            for path in (self.home/'runtime').glob('jpserver-*.json'):
                try:
                    url = f'http://127.0.0.1:{json.loads(path.read_text())["port"]}/'
                    self.ask('api/status', url=url)
                    return url
                except (ValueError, OSError): pass  # half written, or not listening yet
            time.sleep(.1)
        self.stop()
        raise RuntimeError(f'the Jupyter server did not start:\n{self.log.read_text()[-3000:]}')

    def ask(self, path:str, method:str='GET', url:str='') -> object:
        "Answer of the server's REST interface."
        request = urllib.request.Request((url or self.url) + path, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer: text = answer.read()
        return json.loads(text) if text else None

    def stop(self) -> None:
        "End the server and its kernels."
        self.process.terminate()
        try: self.process.wait(30)
        except subprocess.TimeoutExpired: self.process.kill()


class Kernel:
    "A second client of a notebook's kernel, in a thread of its own beside Playwright's event loop."

    def __init__(self, connection_file:Path):
        self.thread = ThreadPoolExecutor(1)
        self.client = self.thread.submit(self._connect, connection_file).result()

    @staticmethod
    def _connect(path:Path) -> object:
        "A client that the kernel has answered."
        from jupyter_client import BlockingKernelClient
        client = BlockingKernelClient()
        client.load_connection_file(str(path))
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE_S)
        return client

    def run(self, code:str, timeout_s:float=PATIENCE_S) -> str:
        "Text that the code prints, or the value it ends in; its exception is raised here."
        def execute():
            texts = []
            reply = self.client.execute_interactive(
                code, store_history=False, allow_stdin=False, timeout=timeout_s,
                output_hook=lambda message: texts.append(_text(message)))
            return texts, reply['content']
        texts, told = self.thread.submit(execute).result()
        if told['status'] != 'ok': raise RuntimeError('\n'.join(told.get('traceback', [told['status']])))
        return ''.join(texts).strip()

    def close(self) -> None:
        "Let go of the kernel; it runs on."
        self.thread.submit(self.client.stop_channels).result()
        self.thread.shutdown()


def _text(message:dict) -> str:
    "Text of an output message."
    content = message['content']
    if message['msg_type'] == 'display_data': return ''   # geemap shows a stylesheet after every cell
    return content.get('text') or content.get('data', {}).get('text/plain', '')


class Session:
    "One notebook open in JupyterLab or Notebook 7, and its kernel."

    def __init__(self, jupyter:Jupyter, chromium:object, front:str):
        self.jupyter, self.front = jupyter, front
        self.context = chromium.new_context(viewport=VIEWPORT)
        self.context.set_default_timeout(PATIENCE_S*1000)
        self.page = self.context.new_page()
        self.requests, self.errors, self.kernel, self.path = [], [], None, None
        self.context.on('request', lambda request: self.requests.append(request.url))
        self.context.on('response', lambda answer: answer.status < 400 or self.errors.append(
            f'{answer.status} {answer.url[:200]}'))
        self.page.on('websocket', lambda socket: self.requests.append(socket.url))
        self.page.on('pageerror', lambda error: self.errors.append(str(error)[:400]))
        self.page.on('console', lambda said: said.type != 'error' or self.errors.append(said.text[:400]))

    # ---- the notebook

    def open(self, cells:list[str], name:str='notebook') -> None:
        "Write a notebook of code cells, open it, and wait until its kernel is idle."
        cell = {'cell_type': 'code', 'execution_count': None, 'metadata': {}, 'outputs': []}
        cells = [{**cell, 'id': f'cell-{index}', 'source': source} for index, source in enumerate(cells)]
        kernel = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
        self.open_book({'cells': cells, 'metadata': {'kernelspec': kernel}}, f'{name}_{self.front}.ipynb')

    def open_book(self, book:dict, path:str) -> None:
        "Write a notebook, open it, and wait until its kernel is idle."
        self.close_kernel()
        self.jupyter.forget_settings()
        self.path = path
        place = self.jupyter.folder/path
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps({'nbformat': 4, 'nbformat_minor': 5} | book), encoding='utf-8')
        self.page.goto(self.jupyter.url + PAGES[self.front].format(quote(path)))
        self._ready()

    def _ready(self) -> None:
        "Wait until the notebook stands and its kernel is idle."
        self.wait("document.querySelector('.jp-Notebook .jp-Cell')")
        self.wait(IDLE)

    def _speak(self) -> Kernel:
        "The second client of the notebook's kernel."
        if self.kernel is None:
            identity = self.page.evaluate(f'{PANEL}.sessionContext.session.kernel.id')
            self.kernel = Kernel(self.jupyter.home/'runtime'/f'kernel-{identity}.json')
        return self.kernel

    def command(self, name:str, **words:object) -> None:
        "Run a command of JupyterLab and wait for its end."
        self.page.evaluate(EXECUTE, [name, words])

    def run_all(self) -> None:
        "Run all cells as the menu does; an exception in a cell is raised here."
        self.command('notebook:run-all-cells')
        for source, outputs in self.page.evaluate(TOLD):
            for output in outputs:
                if output['output_type'] == 'error':
                    raise RuntimeError(f'{source}\n{output["ename"]}: {output["evalue"]}')

    def run(self, code:str) -> str:
        "Run code in the notebook's kernel without touching the page; the text of its output."
        return self._speak().run(code)

    def restart_kernel(self, run_all:bool=False) -> None:
        "Restart the kernel as the menu does, but for the question; then all cells if wanted."
        self._hang_up()
        self.page.evaluate(f'{PANEL}.sessionContext.session.kernel.restart()')
        self.wait(IDLE)
        if run_all: self.run_all()

    def kill_kernel(self) -> None:
        "Kill the kernel's process, close what Jupyter says to that, and wait for the kernel it starts."
        before = int(self.run('import os; print(os.getpid())'))
        self._hang_up()
        os.kill(before, signal.SIGKILL)
        self.page.locator('.jp-Dialog button.jp-mod-accept').click()
        self.page.locator('.jp-Dialog').wait_for(state='detached')
        self.wait(IDLE)

    def shut_kernel_down(self) -> None:
        "End the kernel as the menu does; none is started instead."
        self._hang_up()
        self.page.evaluate(f'{PANEL}.sessionContext.shutdown()')
        self.wait(f'!{PANEL}.sessionContext.session?.kernel')

    def start_kernel(self) -> None:
        "Start a kernel where there is none any more."
        self.page.evaluate(f'{PANEL}.sessionContext.startKernel()')
        self.wait(IDLE)

    def show_cell(self, number:int) -> object:
        "Scroll to a cell, which is not on the page before if it is far away; its output."
        self.page.evaluate(f'{PANEL}.content.scrollToItem({number}, "start")')
        cell = self.page.locator(f'.jp-Cell[data-windowed-list-index="{number}"]')
        cell.wait_for()
        return cell

    def reload(self) -> None:
        """Save the notebook and load the page again; once more where Jupyter gave up waiting for the kernel.

        The manager of widgets asks the kernel which there are and waits four seconds, which a busy machine
        may need; it then says 'model not found', and a person loads the page again.
        """
        self.command('docmanager:save')
        for _ in range(3):
            self.page.reload()
            self._ready()
            self.wait("!document.querySelector('.jp-OutputArea-output') || "
                      f"document.querySelector('.leaflet-container') || {LOST}")
            if not self.page.evaluate(LOST): return

    def theme(self, name:str) -> None:
        "Change to the 'dark' or the 'light' theme."
        self.command('apputils:change-theme', theme=THEMES[name])
        self.wait(f"document.body.dataset.jpThemeLight === '{str(name == 'light').lower()}'")

    def sidebar(self, shown:bool) -> None:
        "Show or hide JupyterLab's file browser, which is shown at first; Notebook 7 has none."
        if self.front == 'lab' and shown != self.page.locator('#jp-left-stack').is_visible():
            self.command('application:toggle-left-area')

    # ---- the page

    def wait(self, expression:str, timeout_s:float=PATIENCE_S) -> None:
        "Wait until a JavaScript expression is true."
        from playwright.sync_api import TimeoutError
        try: self.page.wait_for_function(expression, timeout=timeout_s*1000)
        except TimeoutError: raise self._gave_up(f'not in {timeout_s} s: {expression}') from None

    def until(self, expression:str, timeout_s:float=PATIENCE_S) -> None:
        "Wait until a Python expression is true in the kernel."
        end = time.monotonic() + timeout_s
        while self.run(f'print(bool({expression}))') != 'True':
            if time.monotonic() > end: raise self._gave_up(f'not in {timeout_s} s: {expression}')
            self.page.evaluate('() => new Promise(done => requestAnimationFrame(done))')

    def _gave_up(self, what:str) -> AssertionError:
        "What was waited for, with what the page complains of and a picture of it."
        return AssertionError('\n'.join([what, f'see {self.screenshot("gave_up")}', *self.errors[-10:]]))

    def click(self, selector:str, across:float=.5, down:float=.5, **words:object) -> None:
        "Click at a share of the width and the height of the first element of that kind that is seen."
        found = self.page.locator(selector).first
        found.scroll_into_view_if_needed()
        box = found.bounding_box()
        found.click(position={'x': box['width']*across, 'y': box['height']*down}, **words)

    def screenshot(self, name:str, locator:object=None) -> Path:
        "Keep a picture of the page, or of one element of it (a selector or a locator)."
        path = SCREENSHOTS/f'{name}_{self.front}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(locator, str): locator = self.page.locator(locator).first
        (locator or self.page).screenshot(path=path)
        return path.relative_to(ROOT)

    @property
    def outside(self) -> list[str]:
        "Requests that would have left this machine."
        return [url for url in self.requests if not HERE.match(url)]

    def assert_offline(self) -> None:
        "Fail if anything was asked of another machine."
        said = ['asked of other machines:', *self.outside, 'the console says:', *self.errors]
        if self.outside: pytest.fail('\n'.join(said), pytrace=False)

    # ---- the end

    def _hang_up(self) -> None:
        "Close the second client."
        if self.kernel is not None: self.kernel.close()
        self.kernel = None

    def close_kernel(self) -> None:
        "End the kernel of the open notebook."
        self._hang_up()
        if self.path is None: return
        for each in self.jupyter.ask('api/sessions'):
            if each['path'] != self.path: continue
            try: self.jupyter.ask(f'api/sessions/{each["id"]}', 'DELETE')
            except urllib.error.HTTPError: pass  # ended already

    def close(self) -> None:
        "Close the page and end its kernel."
        self.context.close()
        self.close_kernel()


def leave_out(lacking:list[str]) -> None:
    "Skip the test where something is missing, and say how to get it; on CI that is a failure."
    reason = 'no browser to test with. ' + '; '.join(lacking)
    if lacking and os.environ.get('CI') == 'true': pytest.fail(reason, pytrace=False)
    if lacking: pytest.skip(reason)


# ---- fixtures: one server and one Chromium a module, a fresh context a test

@pytest.fixture(scope='module')
def chromium() -> Iterator[object]:
    "A headless Chromium; where there is none, tests are skipped, or fail if CI is set."
    leave_out(missing())
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program(), args=FLAGS, headless=True)
        yield found
        found.close()


@pytest.fixture(scope='module')
def jupyter(chromium, tmp_path_factory) -> Iterator[Jupyter]:
    "A Jupyter server in a folder of its own."
    server = Jupyter(tmp_path_factory.mktemp('jupyter'))
    yield server
    server.stop()


@contextmanager
def _session(jupyter:Jupyter, chromium:object, front:str) -> Iterator[Session]:
    "A session that is closed whatever happens."
    opened = Session(jupyter, chromium, front)
    try: yield opened
    finally: opened.close()


@pytest.fixture(params=['lab', 'notebook'])
def session(request, jupyter, chromium) -> Iterator[Session]:
    "A browser for notebooks: once JupyterLab, once Notebook 7."
    with _session(jupyter, chromium, request.param) as opened: yield opened


@pytest.fixture
def lab(jupyter, chromium) -> Iterator[Session]:
    "A browser for notebooks: JupyterLab only."
    with _session(jupyter, chromium, 'lab') as opened: yield opened
