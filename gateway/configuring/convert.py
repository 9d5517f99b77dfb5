"""Plain values into typed structures, collecting every error instead of stopping at the first.

msgspec converts well but stops at the first fault; a person fixing a file wants them all. This walks the same type
hints and says of each wrong value where it is and what was wanted.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NewType, Union, get_args, get_origin

import msgspec

from gateway.configuring.problems import Problem, did_you_mean
from gateway.core.secret import Secret
from gateway.core.units import Duration, Size, parse_duration, parse_size

_FAILED = object()
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}


def convert(value: Any, type_: Any, path: str, problems: list[Problem]) -> Any:
    """The value as `type_`. Adds to `problems`; when it added any, what it returns must not be used."""
    special = _SPECIAL.get(type_)
    if special is not None:
        return _parsed(value, special, path, problems)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _struct(value, type_, path, problems)
    if isinstance(type_, NewType):
        return convert(value, type_.__supertype__, path, problems)
    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        return _union(value, get_args(type_), path, problems)
    if origin is Literal:
        return _literal(value, get_args(type_), path, problems)
    if origin in (dict, Mapping, types.MappingProxyType) or type_ is dict:
        return _mapping(value, get_args(type_) or (str, Any), path, problems)
    if origin in (list, tuple, frozenset, set) or type_ in (list, tuple):
        return _sequence(value, type_, path, problems)
    return _plain(value, type_, path, problems)


def _fail(problems: list[Problem], path: str, message: str) -> Any:
    problems.append(Problem(path, message))
    return _FAILED


def _parsed(value: Any, parse: Callable[[Any], Any], path: str, problems: list[Problem]) -> Any:
    try:
        return parse(value)
    except (ValueError, TypeError) as error:
        return _fail(problems, path, str(error))


def _struct(value: Any, type_: type[msgspec.Struct], path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        return _fail(problems, path, f"expected a mapping with keys such as {_some(type_)}, not {_say(value)}")
    before = len(problems)
    hints = typing.get_type_hints(type_)
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    for key in value:
        if key not in fields:
            problems.append(Problem(_join(path, key), f"unknown key{did_you_mean(key, fields)}"))
    made: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            made[field.name] = convert(value[name], hints[field.name], _join(path, name), problems)
        elif field.required:
            problems.append(Problem(_join(path, name), "missing; it must be given"))
    if len(problems) > before:
        return _FAILED
    try:
        return type_(**made)
    except (ValueError, TypeError) as error:
        return _fail(problems, path, str(error))


def _union(value: Any, choices: tuple[Any, ...], path: str, problems: list[Problem]) -> Any:
    if value is None and type(None) in choices:
        return None
    tried: list[list[Problem]] = []
    for choice in choices:
        if choice is type(None):
            continue
        found: list[Problem] = []
        made = convert(value, choice, path, found)
        if not found:
            return made
        tried.append(found)
    # The alternative that got furthest below this path is the one that was meant.
    problems.extend(max(tried, key=lambda found: max(len(problem.path) for problem in found)))
    return _FAILED


def _literal(value: Any, allowed: tuple[Any, ...], path: str, problems: list[Problem]) -> Any:
    if value in allowed and type(value) in {type(choice) for choice in allowed}:
        return value
    choices = ", ".join(map(str, allowed))
    hint = did_you_mean(value, map(str, allowed)) if isinstance(value, str) else ""
    return _fail(problems, path, f"{_say(value)} is not one of {choices}{hint}")


def _mapping(value: Any, arguments: tuple[Any, ...], path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        return _fail(problems, path, f"expected a mapping, not {_say(value)}")
    return {key: convert(item, arguments[1], _join(path, str(key)), problems) for key, item in value.items()}


def _sequence(value: Any, type_: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, list):
        return _fail(problems, path, f"expected a list, not {_say(value)}")
    origin = get_origin(type_) or type_
    arguments = [item for item in get_args(type_) if item is not Ellipsis]
    wanted = arguments[0] if arguments else Any
    return origin(convert(item, wanted, f"{path}[{at}]", problems) for at, item in enumerate(value))


def _plain(value: Any, type_: Any, path: str, problems: list[Problem]) -> Any:
    if type_ is Any:
        return value
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is type_:
        return value
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        wanted = _NAMES.get(type_)
        return _fail(problems, path, f"expected {wanted}, not {_say(value)}" if wanted else str(error))


def _duration(value: Any) -> Duration:
    if not isinstance(value, str):
        raise ValueError(f"expected a duration such as 250ms, 5s or 1h, not {_say(value)}")  # noqa: TRY004
    return parse_duration(value)


def _size(value: Any) -> Size:
    if not isinstance(value, str):
        raise ValueError(f"expected a size such as 512KiB or 10MiB, not {_say(value)}")  # noqa: TRY004
    return parse_size(value)


def _secret(value: Any) -> Secret:
    if not isinstance(value, str):
        raise ValueError('expected a secret as quoted text, such as "${OPENAI_API_KEY}"')  # noqa: TRY004
    return Secret(value)


_SPECIAL: dict[Any, Callable[[Any], Any]] = {Duration: _duration, Size: _size, Secret: _secret}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _some(type_: type[msgspec.Struct]) -> str:
    return ", ".join(type_.__struct_encode_fields__[:4])


def _say(value: Any) -> str:
    """A short, safe description: long or nested values by their kind only, and never a secret's."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return "a mapping" if isinstance(value, dict) else "a list"
