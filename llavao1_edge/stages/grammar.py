"""GBNF of a stage: any text without a stage tag, then the stage's own closing tag."""

from __future__ import annotations

from llavao1_edge.stages.stage import Stage

# After "<" or "</" the beginnings of the four tags are forbidden, two letters deep. Anything else
# may follow, so "a < b" and HTML stay possible; "<" itself may not, or "<<SUMMARY>" would be one.
TEXT = r"""
text ::= ([^<] | "<" after)*
after ::= "/" inner | letter | [^/SCRscr<]
inner ::= letter | [^/SCRscr<]
letter ::= [Ss] [^Uu<] | [Cc] [^AaOo<] | [Rr] [^Ee<]
"""


def stage_grammar(stage: Stage, *, newlines: bool = True) -> str:
    """The grammar that a stage's text follows after its opening tag.

    newlines: allowed after the closing tag, because a token may hold both; without them, a model
    that follows the grammar to its end stops there.
    """
    after = ' "\\n"*' if newlines else ""
    return f'root ::= text "{stage.closing}"{after}\n{TEXT.strip()}\n'
