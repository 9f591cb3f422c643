"""Secrets that lie in files of their own, and which settings hold secrets at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from sightline.errors import SettingsError


class SecretFileVariables(PydanticBaseSettingsSource):
    """`SIGHTLINE_SECTION_KEY_FILE` for each secret KEY, as container platforms hand secrets out."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        key = f"{field_name}_file"
        return os.environ.get(f"{self.config.get('env_prefix', '')}{key}".upper()), key, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields.items()
        found = (self.get_field_value(field, name) for name, field in fields if is_secret(field.annotation))
        return {key: path for path, key, _ in found if path}


def with_secrets_read(given: dict[str, Any], fields: Mapping[str, FieldInfo], where: str) -> dict[str, Any]:
    """`given` with each KEY_file of a secret replaced by KEY, the text of that file without its last line break."""
    values = dict(given)
    for name, field in fields.items():
        file = f"{name}_file"
        if file in fields or not is_secret(field.annotation) or (path := values.pop(file, None)) is None:
            continue
        if values.get(name) is not None:
            raise SettingsError(f"{where}{name} and {file} are both set; leave one of them")
        try:
            text = Path(path).read_text().rstrip("\r\n")
        except (OSError, TypeError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise SettingsError(f"{where}{file} = {str(path)!r} cannot be read: {why}") from None
        if not text:
            raise SettingsError(f"{where}{file} = {str(path)!r} is empty; put the secret there")
        values[name] = SecretStr(text)
    return values


def is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


def may_hold_secret(annotation: Any) -> bool:
    """Whether a secret may stand anywhere in a value of this type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(may_hold_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(may_hold_secret(part) for part in get_args(annotation))
