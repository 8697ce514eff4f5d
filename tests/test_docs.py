"""What is public is documented: a one-line docstring, types, a word on every parameter."""
import ast
import io
import re
import tokenize
from string import ascii_lowercase

import pytest
from pages import Faults, assigned, dotted, each_page

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
DOCUMENTED_DUNDERS = {'__init__', '__call__'}
VERBS_IN_S = {'pass', 'process', 'express', 'compress', 'guess', 'discuss', 'assess', 'cross', 'focus'}
VERBS_WITH_FOR = {'look', 'search', 'ask', 'wait', 'account', 'check'}
NO_VERBS = {'a', 'an', 'the', 'this', 'that', 'whether', 'if', 'all', 'every', 'each', 'one', 'what', 'how'}
DTYPE = re.compile(r'u?int\d+|b?float\d+|bool')


# ---- docstrings

def imperative(text:str) -> bool:
    "Does a docstring begin like an order? A rule of thumb: 'Open', not 'Opens', 'The', 'Folder for'."
    first, second, *_ = [*re.findall(r"[\w'-]+", text.lower()), '', '']
    if not first or first in NO_VERBS or not first.isalpha() or text.split()[0].isupper(): return False
    if first.endswith('ing') and first not in ('bring', 'ring', 'string'): return False
    if first.endswith('s') and first not in VERBS_IN_S: return False
    return second != 'of' and (second != 'for' or first in VERBS_WITH_FOR)


@pytest.mark.parametrize('text', ['Opens a field.', 'The field.', 'Folder for downloads.',
                                  'SHA-256 of a file.', 'Heights of the waves.', 'Opening a field.'])
def test_descriptions_are_seen(text): assert not imperative(text)


@pytest.mark.parametrize('text', ['Open a field.', 'Pass over it.', 'Look for a place.', 'Bring it back.'])
def test_orders_are_seen(text): assert imperative(text)


def one_line(node:ast.AST) -> bool: return node.body[0].lineno == node.lineno


def check_docstring(node:ast.AST, order:bool, fault:Faults, ends:str='.') -> None:
    "One line, a full stop, an order where something is done."
    text = ast.get_docstring(node, clean=False)
    if text is None: return fault(node.name, 'no docstring')
    if '\n' in text: fault(node.name, 'the docstring is one line; longer text belongs into the page')
    if text.strip()[-1:] not in ends: fault(node.name, f'no full stop: {text!r}')
    if order and not imperative(text): fault(node.name, f'say what it does, as an order: {text!r}')


# ---- parameters: types and docments

def comments_of(source:str) -> dict[int, tuple[int, str]]:
    "Line -> (column, text) of every comment."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: (token.start[1], token.string.lstrip('# ')) for token in tokens
            if token.type == tokenize.COMMENT}


def well_worded(text:str) -> bool:
    "Shape, a dtype or a capital letter comes first."
    word = re.match(r'\w+', text)
    return bool(text) and not (text[0] in ascii_lowercase and not DTYPE.fullmatch(word[0]))


def check_parameters(node:ast.AST, comments:dict, fault:Faults, bound:bool) -> None:
    "Every parameter has a type and a docment; those of one function stand in one column."
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    extra = [argument for argument in (node.args.vararg, node.args.kwarg) if argument]
    columns = set()
    for argument in arguments[1 if bound else 0:] + extra:
        where = f'{node.name}({argument.arg})'
        if argument.annotation is None and argument not in extra: fault(where, 'no type')
        if argument.lineno not in comments: fault(where, 'no docment'); continue
        column, text = comments[argument.lineno]
        columns.add(column)
        if not well_worded(text): fault(where, f'begin with shape, dtype or a capital: {text[:40]!r}')
    if len(columns) > 1: fault(node.name, 'docments stand in different columns')


def check_return(node:ast.AST, comments:dict, fault:Faults) -> None:
    "The return has a type, and a docment unless it is None or the name of a class says it all."
    if node.returns is None: return fault(node.name, 'no return type')
    name = node.returns.value if isinstance(node.returns, ast.Constant) else dotted(node.returns)
    says_it_all = name is None or re.fullmatch('(?!Tensor|Any)[A-Z][A-Za-z]+', name)
    if not says_it_all and node.returns.end_lineno not in comments:
        fault(node.name, 'no docment of the return')


def check_function(node:ast.AST, comments:dict, fault:Faults) -> None:
    check_docstring(node, True, fault)
    check_parameters(node, comments, fault, bound=False)
    check_return(node, comments, fault)


def check_method(node:ast.AST, comments:dict, fault:Faults) -> None:
    "Methods that fit on a line speak for themselves; all others are documented as functions are."
    marks = {dotted(mark).rpartition('.')[2] for mark in node.decorator_list}
    if node.name.startswith('_') and node.name not in DOCUMENTED_DUNDERS: return
    if node.name != '__init__' and node.returns is None: fault(node.name, 'no return type')
    arguments = node.args.args[0 if 'staticmethod' in marks else 1:]
    for argument in arguments:
        if argument.annotation is None: fault(f'{node.name}({argument.arg})', 'no type')
    if one_line(node) or marks & {'setter', 'validator'}: return
    if marks & {'property', 'cached_property'}: return check_docstring(node, False, fault)
    if node.name not in (*DOCUMENTED_DUNDERS, 'forward'): check_docstring(node, True, fault)
    check_parameters(node, comments, fault, bound='staticmethod' not in marks)
    if node.name != '__init__': check_return(node, comments, fault)


def check_class(node:ast.ClassDef, comments:dict, fault:Faults) -> None:
    check_docstring(node, False, fault)
    marks = [dotted(mark.func if isinstance(mark, ast.Call) else mark) for mark in node.decorator_list]
    inside = Faults()
    for item in node.body:
        if isinstance(item, FUNCTION): check_method(item, comments, inside)
        field = dotted(item.target) if isinstance(item, ast.AnnAssign) and 'dataclass' in marks else '_'
        said = {item.lineno, item.end_lineno} & set(comments)
        if not field.startswith('_') and not said: inside(field, 'no comment')
    fault.extend(f'{node.name}.{text}' for text in inside)


@each_page
def test_public_names_are_documented(page):
    source = page.module.read_text(encoding='utf-8')
    comments, public, fault = comments_of(source), assigned(page.module, '__all__'), Faults()
    for node in ast.parse(source).body:
        if isinstance(node, FUNCTION) and node.name in public: check_function(node, comments, fault)
        if isinstance(node, ast.ClassDef) and node.name in public: check_class(node, comments, fault)
    fault.report()


@each_page
def test_private_helpers_say_what_they_do(page):
    "Private functions longer than a line have a docstring of one line, too; it may be a question."
    fault = Faults()
    for node in ast.parse(page.module.read_text(encoding='utf-8')).body:
        if not isinstance(node, FUNCTION | ast.ClassDef) or one_line(node): continue
        if node.name.startswith('_'): check_docstring(node, False, fault, ends='.?')
    fault.report()


BAD = '''
class Thing:
    "A thing"
    def grow(self, by): return by
    def turn(self,
        angle:float, # degrees
    ) -> float:
        return angle

def opens(
    path:str,      # File
    mode,  # how
    quiet=False,
): "Opens a file"
'''


def test_missing_words_are_seen():
    "Every check above can fire."
    comments, fault = comments_of(BAD), Faults()
    thing, opens = ast.parse(BAD).body
    check_class(thing, comments, fault)
    check_function(opens, comments, fault)
    found = '\n'.join(fault)
    for words in ('Thing: no full stop', 'Thing.grow: no return type', 'Thing.grow(by): no type',
                  'Thing.turn: no docstring', "a capital: 'degrees'", 'Thing.turn: no docment of the return',
                  'opens: no full stop', 'opens: say what it does', 'opens(mode): no type',
                  'opens(quiet): no docment', 'different columns', 'opens: no return type'):
        assert words in found
