"""The metadata of a GGUF file, each value of the type that is expected. Part of from_gguf.py."""
import gguf


class BadInput(Exception):
    """A GGUF file, or an argument, that cannot be used; the text names the place."""


def open_gguf(path):
    """gguf checks little of what it reads: whatever it stumbles over means that the file is damaged."""
    try:
        return gguf.GGUFReader(path)
    except OSError as error:
        raise BadInput(error.strerror or error) from error
    except Exception as error:
        raise BadInput(f"no GGUF file, or damaged: {error}") from error


def metadata(reader, key, kind):
    field = reader.get_field(key)
    try:
        value = None if field is None else field.contents()
    except ValueError as error:
        raise BadInput(f"{key}: {error}") from error
    if type(value) is not kind:
        raise BadInput(f"{key}: " + ("missing" if field is None else f"is no {kind.__name__}"))
    return value


def count(reader, key):
    value = metadata(reader, key, int)
    if value <= 0:
        raise BadInput(f"{key}: {value} is no positive count")
    return value


def metadata_list(reader, key, kind):
    values = metadata(reader, key, list)
    if any(type(value) is not kind for value in values):
        raise BadInput(f"{key}: is no list of {kind.__name__}")
    return values


def special_token(reader, name):
    key = f"tokenizer.ggml.{name}_token_id"
    return None if reader.get_field(key) is None else metadata(reader, key, int)
