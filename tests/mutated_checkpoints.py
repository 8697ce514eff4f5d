"""Damage checkpoints and models as disks, networks and enemies do; read them; say what came of it.

    python tests/mutated_checkpoints.py FOLDER model|checkpoint FIRST LAST

runs in a process of its own, with limits: 6 GiB of memory, ten seconds a file. A line for each file: its
number and `refused`, `same`, `changed` or the error; nothing after the one that crashed or did not end.
"""
import copy
import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np

MEMORY, SECONDS = 6 << 30, 10
BYTES = ('cut', 'bit', 'bits', 'zeros', 'noise', 'length')             # without looking
HEADER = ('dtype', 'shape', 'offsets', 'names', 'manifest', 'text')    # a header that is valid JSON
SEALED = ('setting', 'tensor', 'lost', 'step')                         # and even the hash is right
KINDS = BYTES + HEADER + SEALED
ODD = (None, -1, 0, 1.5, True, 1 << 40, 10**30, 'x', '', [], {}, [[[]]], {'a': [None]}, 'NaN')
HUGE = ([1 << 40], [1 << 62, 1 << 62], [-1], [10**30], ['8'], [], [[1]], None, 'x', [0], [1.5])
ABOUT = {'training': json.dumps({'steps': 30})}


def start():
    "A small model, and its optimiser after a step."
    import torch
    from small_model import SMALL

    from alphaearth_nb.model import AlphaEarth
    torch.manual_seed(0)
    model = AlphaEarth(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimizer.step()
    return model, optimizer


def write(folder:Path) -> None:
    "A model and a checkpoint as this toolkit writes them."
    from alphaearth_nb.checkpoints import save_checkpoint
    model, optimizer = start()
    model.save(folder/'model.safetensors')
    save_checkpoint(folder, 5, model, optimizer, ABOUT).rename(folder/'checkpoint.safetensors')


def pick(rng:np.random.Generator, values): return values[int(rng.integers(len(values)))]


def header_changed(content:bytes, kind:str, rng:np.random.Generator) -> bytes:
    "The same numbers under another header, whose length is right."
    length = int.from_bytes(content[:8], 'little')
    head = json.loads(content[8:8 + length])
    texts = head['__metadata__']
    name, other = (pick(rng, [key for key in head if key != '__metadata__']) for _ in range(2))
    if kind == 'dtype': head[name]['dtype'] = pick(rng, ['F64', 'I32', 'BOOL', 'X9', 'f32', *ODD])
    if kind == 'shape': head[name]['shape'] = pick(rng, HUGE)
    if kind == 'offsets':
        first, last = head[name]['data_offsets']
        head[name]['data_offsets'] = pick(rng, [[-4, last], [last, first], [first, 1 << 62],
                                                [first + 1, last], head[other]['data_offsets'],
                                                [1.5, last], [first], None, 'x'])
    if kind == 'names': head[pick(rng, [other, 'x', '', '../x', 'ü'*99])] = head.pop(name)
    if kind == 'manifest':
        head['__metadata__'] = pick(rng, [None, 5, {}, {**texts, 'sha256': '0'*64}, {'sha256': 7}])
    if kind == 'text': texts[pick(rng, sorted(texts))] = pick(rng, ODD)
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, 'little') + text + content[8 + length:]


def setting_changed(values:dict, rng:np.random.Generator) -> dict:
    "One setting at any depth is something else."
    values = copy.deepcopy(values)
    inside = values
    while True:
        key = pick(rng, sorted(inside))
        if not isinstance(inside[key], dict) or not inside[key] or rng.random() < .3: break
        inside = inside[key]
    inside[key] = pick(rng, ODD)
    return values


def resealed(path:Path, original:Path, kind:str, rng:np.random.Generator) -> None:
    "Another content with the right hash, as somebody would write who knows the format."
    import torch

    from alphaearth_nb.model import read_tensors, write_tensors
    tensors, about = read_tensors(original)
    name = pick(rng, sorted(tensors))
    if kind == 'setting':
        key = pick(rng, [key for key in about if about[key].startswith('{')])
        changed = setting_changed(json.loads(about[key]), rng)
        about[key] = pick(rng, [json.dumps(changed)]*6 + ['[', '5', '[]', '['*100_000])
    if kind == 'tensor':
        old = tensors[name]
        shapes = (old.flatten(), old[None], torch.zeros(3), old.bfloat16().flatten()[:1])
        tensors[name] = pick(rng, shapes)
    if kind == 'lost': tensors = {key: tensor for key, tensor in tensors.items() if key != name}
    if kind == 'step': about[pick(rng, ['step', 'config', 'format'])] = str(pick(rng, ODD))
    write_tensors(path, tensors, about, overwrite=True)


def damage(path:Path, original:Path, seed:int) -> None:
    "Write the same file with one thing wrong."
    rng, kind, content = np.random.default_rng(seed), KINDS[seed % len(KINDS)], original.read_bytes()
    if kind in SEALED: return resealed(path, original, kind, rng)
    if kind in HEADER: content = header_changed(content, kind, rng)
    at, content = int(rng.integers(len(content))), bytearray(content)
    if kind == 'cut': del content[at:]
    if kind in ('bit', 'bits'):
        for _ in range(1 if kind == 'bit' else 50):
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    if kind == 'zeros': content[at:at + 4096] = bytes(len(content[at:at + 4096]))
    if kind == 'noise': content[at:at + 64] = rng.bytes(len(content[at:at + 64]))
    if kind == 'length': content[:8] = pick(rng, [b'\xff'*8, bytes(8), rng.bytes(8), rng.bytes(3) + bytes(5)])
    path.write_bytes(content)


def read(path:Path, kind:str) -> dict:
    "What a user gets: the numbers of a model, or those of a run that goes on."
    if kind == 'model':
        from alphaearth_nb.model import AlphaEarth
        return AlphaEarth.load(path).state_dict()
    from alphaearth_nb.checkpoints import load_checkpoint
    model, optimizer = start()
    step, _ = load_checkpoint(path, model, optimizer, ABOUT)
    model.train()
    optimizer.step()                                      # what was restored has to be of use
    return {**model.state_dict(), 'step': step}


def outcome(path:Path, kind:str, known:dict) -> str:
    from alphaearth_nb.core import CheckpointError
    try: found = read(path, kind)
    except CheckpointError as error: return 'refused' if '\n' not in str(error) else 'refused at length'
    except Exception as error: return f'{type(error).__name__}: {str(error)[:200]!r}'
    same = found.keys() == known.keys() and all(
        bool((found[name] == known[name]).all()) if name != 'step' else found[name] == known[name]
        for name in known)
    return 'same' if same else 'changed'


def main(folder:str, kind:str, first:str, last:str) -> None:
    original = Path(folder)/f'{kind}.safetensors'
    known, path = read(original, kind), Path(folder)/f'{kind}-{first}-damaged.safetensors'
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for seed in range(int(first), int(last)):
        damage(path, original, seed)
        signal.alarm(SECONDS)
        print(seed, outcome(path, kind, known), flush=True)
        signal.alarm(0)


if __name__ == '__main__': main(*sys.argv[1:])
