"""JSON schema to GBNF, by llama-cpp-python."""

from __future__ import annotations

import json

from llavao1_edge.errors import UsageError


def gbnf_of_schema(text: str, *, name: str) -> str:
    """The grammar of a JSON schema. Raises UsageError where it cannot be read or translated."""
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{name}, line {error.lineno}, column {error.colno}: {error.msg}",
            hint="It must be a JSON schema.",
        ) from None
    except RecursionError:
        raise UsageError(f"{name} is nested too deeply", hint="Use a simpler schema.") from None
    if not isinstance(schema, dict):
        raise UsageError(f"{name} holds {type(schema).__name__}", hint="It must be a JSON schema.")
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        grammar: str = json_schema_to_gbnf(json.dumps(schema))
    except Exception as error:  # whatever the translator stumbles over
        raise UsageError(
            f"{name} cannot be turned into a grammar: {error}",
            hint="Use the parts of JSON schema that llama.cpp knows.",
        ) from None
    return grammar
