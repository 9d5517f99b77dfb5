"""Checks that every dialect's request reader makes, with errors that name the field."""

from __future__ import annotations

from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body

MAX_MODEL = 256
"""Characters of a model name."""


def wrong(param: str, want: str, value: Any) -> BadRequest:
    """Never echoes the value, only what kind of thing it was."""
    return BadRequest(f"{param} must be {want}, not {kind(value)}.", param=param)


def kind(value: Any) -> str:
    """A JSON value's kind, in words."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "something else")


def model_of(body: Body) -> str:
    model = body.get("model")
    if type(model) is not str:
        if model is None:
            raise BadRequest("model is missing; name the model to use.", param="model")
        raise wrong("model", "a string", model)
    if not model or len(model) > MAX_MODEL:
        raise BadRequest(f"model must be 1 to {MAX_MODEL} characters long.", param="model")
    return model


def flag(body: Body, name: str) -> bool:
    value = body.get(name)
    if value is not None and type(value) is not bool:
        raise wrong(name, "true or false", value)
    return value is True


def items(body: Body, name: str) -> list[Any]:
    """A list that must be there and hold something."""
    value = body.get(name)
    if type(value) is not list:
        if value is None:
            raise BadRequest(f"{name} is missing.", param=name)
        raise wrong(name, "a list", value)
    if not value:
        raise BadRequest(f"{name} must not be empty.", param=name)
    return value
