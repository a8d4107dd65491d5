"""How the fields of records are checked: by pydantic, which is imported only when one is."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar


class Strict:
    """A record whose fields are all there, none besides, nothing converted, every number finite."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


class _AnyJson:
    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        from pydantic import JsonValue

        return handler.generate_schema(JsonValue)


class _TwoEnds:
    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        from pydantic import Field

        ends = Annotated[tuple[float | None, ...], Field(min_length=2, max_length=2)]
        return handler.generate_schema(ends)


#: What JSON can say, of a form that only its writer knows.
Json = Annotated[Any, _AnyJson()]
#: The lower and the upper end of something, None where it has none.
Ends = Annotated[tuple[float | None, float | None], _TwoEnds()]
