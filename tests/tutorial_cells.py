"""Writes the cells with which a tutorial opens in Colab as it does at home: make tutorials."""
import configparser
import json
from pathlib import Path

from pages import NBS, ROOT, text_of

IN_COLAB = "if 'google.colab' in str(get_ipython()):"  # the shell's own class, so that nothing is imported


def settings() -> dict[str, str]:
    "What settings.ini says."
    parser = configparser.ConfigParser()
    parser.read(ROOT/'settings.ini', encoding='utf-8')
    return dict(parser['DEFAULT'])


def tutorials() -> list[Path]: return sorted((NBS/'tutorials').glob('[!_.]*.ipynb'))


def badge(path:Path) -> str:
    "Link that opens a notebook of the repository in Colab."
    told, colab = settings(), 'https://colab.research.google.com'
    place = told['git_url'].removeprefix('https://github.com/')
    inside = path.relative_to(ROOT).as_posix()
    image = f'![Open in Colab]({colab}/assets/colab-badge.svg)'
    return f'[{image}]({colab}/github/{place}/blob/{told["branch"]}/{inside})'


def cells(path:Path) -> list[dict]:
    "The three cells that follow the title: badge, installation, widgets."
    source = f'git+{settings()["git_url"]}@{settings()["branch"]}'
    texts = {
        'colab-badge': badge(path),
        'colab-pip': f'{IN_COLAB}\n    %pip install -q {source}',
        'colab-widgets': f'{IN_COLAB}\n    from google.colab import output\n'
                         '    output.enable_custom_widget_manager()'}
    code = {'cell_type': 'code', 'execution_count': None, 'outputs': []}
    kinds = {name: {'cell_type': 'markdown'} if name == 'colab-badge' else code for name in texts}
    return [{**kinds[name], 'id': name, 'metadata': {}, 'source': text.splitlines(keepends=True)}
            for name, text in texts.items()]


def with_cells(path:Path) -> dict:
    "A tutorial with the three cells behind its title, wherever they stood before."
    book, own = json.loads(path.read_text(encoding='utf-8')), cells(path)
    texts = {text_of(cell['source']) for cell in own}
    rest = [cell for cell in book['cells']
            if cell.get('id') not in {cell['id'] for cell in own} and text_of(cell['source']) not in texts]
    return book | {'cells': [*rest[:1], *own, *rest[1:]]}


if __name__ == '__main__':
    for path in tutorials():
        text = json.dumps(with_cells(path), indent=1, ensure_ascii=False, sort_keys=True)
        path.write_text(text + '\n', encoding='utf-8')
        print(f'{path.relative_to(ROOT)} written')
