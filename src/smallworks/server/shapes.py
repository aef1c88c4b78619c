"""What a request may say: the bodies of every route. Knows no bundle.

Fields that are not named here are ignored, since clients send many; one that is named must have its
type. A field that would change the answer and cannot be honoured is refused in ask.py, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_BODY = 2**20
"""Bytes of a request's body; more is refused with 413."""
MAX_TOKENS = 32768
MAX_PROMPTS = 128
MAX_ITEMS = 1024


def _whole(text: str) -> str:
    """Refuses half a surrogate pair, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half of a surrogate pair at character {error.start}") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]
Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Drawing(Shape):
    model: Text | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)


class StreamOptions(Shape):
    include_usage: bool | None = None


class Asking(Drawing):
    """What the two OpenAI-shaped routes have in common."""

    max_tokens: Tokens | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class TextPart(Shape):
    type: Literal["text"]
    text: Text


class ChatMessage(Shape):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(p.text for p in self.content)


class JsonSchema(Shape):
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Shape):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Asking):
    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None


class CompletionRequest(Asking):
    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_PROMPTS)]
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class GenerateRequest(Drawing):
    """As in the common FastAPI tutorial."""

    instruction: Text | None = None
    input_text: Text
    max_new_tokens: Tokens | None = None


class ClassifyRequest(Shape):
    model: Text | None = None
    input: (
        Text
        | dict[str, Text]
        | Annotated[list[Text | dict[str, Text]], Field(min_length=1, max_length=MAX_ITEMS)]
    )

    @property
    def items(self) -> list[str | dict[str, str]]:
        return self.input if isinstance(self.input, list) else [self.input]
