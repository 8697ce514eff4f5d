"""What is written of the study canada.py: its tables and its page, from its figures alone."""

TRIALS = {'1': '1 label a class', '10': '10 labels', 'max': 'up to 300'}
FIELD, CROPS, ZERO = 'encoder trained here', 'encoder trained with crop maps', 'the same encoder, zero steps'
BRIEF = ('position alone', 'annual median, clear ones', 'medians of four seasons, clear ones', 'harmonics',
         'months of 2017, clear ones', 'months of 2017 and 2018, clear ones',
         '64 components of the months of 2017 and 2018, clear ones')
COMMAND = 'python tests/studies/canada.py --work runs/canada'

CROPS_ARE_APART = ''' The *{name}* decodes, beside its frames, the crop of each series that
it learns from, as the paper decodes the crop map CDL: it has seen the labels of all other cells, so its
numbers at 1 and 10 labels are to be read beside the baselines **with up to 300**: {fair}.'''


def cell(one:dict, sign:str='') -> str:
    "A number of points with its interval."
    value, low, high = (f'{100*one[key]:{sign}.1f}'.replace('-', '−') for key in ('value', 'low', 'high'))
    return f'{value} ({low} to {high})'


def lay(head:list[str], rows:list[list[str]]) -> str:
    "A table in Markdown."
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [head, ['---']*len(head), *rows])


def scores(told:dict) -> str:
    "Each feature set with its interval; the best baseline of a trial and the encoders are bold."
    plain = [row for row in told['rows'] if row['name'] not in (FIELD, CROPS, ZERO)]
    top = {trial: max(plain, key=lambda row: row['score'][trial]['value'])['name'] for trial in TRIALS}
    rows = []
    for row in told['rows']:
        cells = [f'{cell(row["score"][trial])}, {row["predictor"][trial]}' for trial in TRIALS]
        cells = [f'**{one}**' if top[trial] == row['name'] else one for one, trial in zip(cells, TRIALS)]
        rows.append([f'**{row["name"]}**' if row['name'] in (FIELD, CROPS) else row['name'], *cells])
    return lay(['features', *TRIALS.values()], rows)


def gaps(told:dict, field:str) -> str:
    "An encoder minus each of the others."
    rows = [[row['name'], *(cell(row['minus'][field][trial], '+') for trial in TRIALS)]
            for row in told['rows'] if field in row['minus']]
    return lay([f'{field} minus', *TRIALS.values()], rows)


def verdict(told:dict, field:str, trial:str='10') -> str:
    "Say whether the goal is met, and name what is not beaten."
    rest = [row for row in told['rows'] if row['name'] not in (FIELD, CROPS, ZERO)]
    short = [row['name'] for row in rest if row['minus'][field][trial]['low'] <= 0]
    first = max(rest, key=lambda row: row['score'][trial]['value'])
    gap = f'against the best of them, *{first["name"]}*, {cell(first["minus"][field][trial], "+")} points'
    if not short: return f'At ten labels a class the *{field}* is above every baseline: {gap}.'
    named = ', '.join(f'*{name}*' for name in short)
    return (f'At ten labels a class the *{field}* is **not** above every baseline: {gap}. The interval '
            f'of the difference does not lie above zero for {len(short)} of {len(rest)}: {named}.')


def fair(told:dict) -> str:
    "The encoder that has seen labels, with ten more, against the best baseline with all of them."
    rest = [row for row in told['rows'] if 'ten_minus_all' in row]
    first = max(rest, key=lambda row: row['score']['max']['value'])
    return f'with ten it is {cell(first["ten_minus_all"], "+")} points against *{first["name"]}* with all'


def brief(told:dict) -> str:
    "What the page of all numbers shows of the study: each encoder, and one baseline of a kind."
    rows = {row['name']: row for row in told['rows']}
    shown = [*(name for name in BRIEF if name in rows), ZERO, *(one for one in (CROPS, FIELD) if one in rows)]
    def minus(row:dict, one:str) -> str:
        return cell(row['minus'][one]['10'], '+') if one in row['minus'] else '–'
    fields = [name for name in (FIELD, CROPS) if name in told['seeds']]
    body = [[name, *(cell(rows[name]['score'][trial]) for trial in TRIALS),
             *(minus(rows[name], one) for one in fields)] for name in shown]
    heads = {FIELD: 'trained here minus it, 10 labels', CROPS: 'with crop maps minus it, 10 labels'}
    return lay(['features of a series', *TRIALS.values(), *(heads[one] for one in fields)], body)


def page(told:dict) -> str:
    "The page as Markdown."
    fields = [name for name in (FIELD, CROPS) if name in told['seeds']]
    verdicts = '\n\n'.join(verdict(told, name) for name in fields)
    differences = '\n\n'.join(gaps(told, name) for name in (*fields, ZERO))
    seeds = '\n'.join(f'- {name}: ' + '; '.join(f'{TRIALS[trial]} '
                                                + ', '.join(f'{100*one:.1f}' for one in part)
                                                for trial, part in each.items())
                      for name, each in told['seeds'].items())
    tried = lay(['recipe', *TRIALS.values()], [[name, *(f'{100*one[trial]:.1f}' for trial in TRIALS)]
                                               for name, one in told['tried'].items()])
    told_apart = CROPS_ARE_APART.format(name=CROPS, fair=fair(told)) if CROPS in fields else ''
    classes = ', '.join(f'{name} {count}' for name, count in told['classes'].items())
    return f'''# Crops of Canada

> Pixel series of other regions against features that need no model, whole cells of 100 km held out.

Made on {told["date"]} by `{COMMAND}`, which says in full what was fixed
before anything was scored. {told["series"]} series, {told["scored"]} scored, in {told["cells"]} cells:
{classes}.
Balanced accuracy in percent over {len(told["classes"])} classes (guessing is
{100/len(told["classes"]):.1f}), 20 draws of labels, the best of four predictors for each number;
in brackets 95 % intervals from resampling whole cells.
The encoders took {told["cpu_s"]/60:.0f} minutes of one processor in all.

{verdicts}

{scores(told)}

The *{FIELD}* sees no label.{told_apart} Intervals are not even about their values because
classes differ in how many cells they come from: spring barley is nearly all of two.

## Differences, paired by cells

{differences}

## Seeds

{seeds}

## What was tried, on four cells that are not scored

One seed, trained without these cells; {COMMAND.partition(" --")[0].partition(" ")[2]} says what each is. The
rows are of an earlier script with the same functions (the first two with 64 windows a batch, not 32);
three further runs were stopped before they were scored.

{tried}

## What this does not show

Series without neighbours: a place of 16 × 16 pixels that are all alike gives the encoder nothing to see in
space, which is half of what it is made for. One year, one country, monthly composites with cloud in them, a
small encoder and minutes of training. The intervals tell of other cells of this kind, not of other years.
'''
