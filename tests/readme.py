"""Writes README.md from nbs/index.ipynb, so that the front page is a notebook that runs: make readme."""
import re

from pages import NBS, ROOT, Page, text_of

README = ROOT/'README.md'
NOTE = '<!-- Written by `make readme` from nbs/index.ipynb: change that. -->'


def _links(text:str) -> str:
    "Links of the notebook lead on from nbs/; the README stands one folder higher."
    def moved(match) -> str:
        target = match[2]
        if re.match(r'[a-z]+:|#', target): return match[0]
        return f'{match[1]}({target.removeprefix("../") if target.startswith("../") else f"nbs/{target}"})'
    return re.sub(r'(\[[^\]]*\])\(([^)\s]+)\)', moved, text)


def render() -> str:
    "README.md as it should be: prose as it is, code fenced, text outputs after it."
    parts = []
    for cell in Page(NBS/'index.ipynb').cells:
        if cell.kind == 'markdown': parts.append(_links(cell.source.strip()))
        elif cell.body and not {'hide', 'export'} & set(cell.directives):
            parts.append('```python\n' + cell.source.strip() + '\n```')
            texts = [text_of(output.get('text') or output.get('data', {}).get('text/plain', ''))
                     for output in cell.outputs]
            parts += ['```\n' + text.strip() + '\n```' for text in texts if text.strip()]
    return '\n\n'.join([*parts[:1], NOTE, *parts[1:]]) + '\n'


if __name__ == '__main__':
    README.write_text(render(), encoding='utf-8')
    print(f'{README.name} written')
