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


def stage_grammar(stage: Stage) -> str:
    """The grammar that a stage's text follows after its opening tag.

    Newlines after the closing tag are allowed because a token may hold both.
    """
    return f'root ::= text "{stage.closing}" "\\n"*\n{TEXT.strip()}\n'
