"""How long a user waits for `import alphaearth_nb` and for `aenb --help`, as whole processes."""
import subprocess
import sys
from pathlib import Path

from harness import Calibration, figure, figure_of_calibration, measure


def process(*command:str):
    "Work that runs a program to its end; a failure is not timed but told."
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


nothing = process(sys.executable, '-c', 'pass')
empty = Calibration(name='python -c pass', work=nothing, amount=1, unit='runs/s')
commands = {
    'import alphaearth_nb': (sys.executable, '-c', 'import alphaearth_nb'),
    'aenb --help': (str(Path(sys.executable).parent/'aenb'), '--help')}

for name, command in commands.items():
    measured = measure(process(*command), empty)
    figure(name, 's', measured.seconds, measured.times(), f'times {empty.name}')
figure_of_calibration(empty, measured)
