"""The README and its neighbours are true: made from the index, links lead somewhere, the code runs."""
import ast
import re
import subprocess
import sys

import readme
from pages import PACKAGE, ROOT, assigned, dotted, lines_of


def test_readme_is_the_index():
    assert readme.README.read_text(encoding='utf-8') == readme.render(), 'run: make readme'


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r'\]\(([^)\s#]+)', readme.README.read_text(encoding='utf-8'))
    assert links
    assert not [link for link in links if not re.match(r'[a-z]+:', link) and not (ROOT/link).exists()]


def python_blocks() -> list[str]:
    return re.findall(r'```python\n(.*?)```', readme.README.read_text(encoding='utf-8'), re.S)


def test_readme_uses_public_names_only():
    public = set(assigned(PACKAGE/'__init__.py', '_PAGES')) | {'__version__'}
    used = {node.attr for block in python_blocks() for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.Attribute) and dotted(node.value) == 'ae'}
    assert used and used <= public


def test_quick_look_runs(tmp_path):
    "The README's code runs as it stands, only with fewer steps of training."
    code = re.sub(r'steps=\d+', 'steps=2', '\n'.join(python_blocks()))
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True,
                          timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]


def test_make_targets_of_the_documents_exist():
    targets = {line.partition(':')[0] for line in lines_of(ROOT/'Makefile') if re.match(r'[a-z-]+:', line)}
    for name in ('README.md', 'CONTRIBUTING.md'):
        told = re.findall(r'(?:^|`)make ([a-z-]+)', (ROOT/name).read_text(encoding='utf-8'), re.M)
        assert told and set(told) <= targets, name


def test_changelog_names_the_version():
    version = assigned(PACKAGE/'__init__.py', '__version__')
    assert re.search(rf'^## \[(Unreleased|{re.escape(version)})\]', (ROOT/'CHANGELOG.md').read_text(), re.M)
