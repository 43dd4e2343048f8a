"""Building blocks of the custom resource's types: names in camelCase, durations, quantities, and rules that the API server checks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Rule = dict[str, str]


def rule(expression: str, message: str, **more: str) -> Rule:
    """A CEL rule of the API server; the message names the field and says what to write."""
    return {"rule": expression, "message": message, **more}


def rules(*checks: Rule) -> dict[str, Any]:
    """Schema extras that carry CEL rules (https://kubernetes.io/docs/reference/using-api/cel/)."""
    return {"x-kubernetes-validations": list(checks)}


class Schema(BaseModel):
    """Base of every type in the contract. Unknown fields are ignored when read: a newer CRD must not stop an older operator."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_dict(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, and absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


Duration = Annotated[
    str,
    Field(pattern=r"^([0-9]{1,6}(h|m|s)){1,3}$"),
]
"""Such as 90s, 15m or 1h30m."""

_QUANTITY_PATTERN = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[mkMGTPE])?$"
Quantity = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": _QUANTITY_PATTERN}),
]
"""A Kubernetes quantity such as 500m, 4 or 16Gi; a bare number may be written without quotes."""

FreeForm = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""A Kubernetes type that the API server checks where it is used, not here."""


def list_map(*keys: str) -> dict[str, Any]:
    """Schema extras of a list whose items are told apart by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
