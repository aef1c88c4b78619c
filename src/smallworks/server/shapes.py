"""What a request may say: the bodies of every route. Knows no bundle.

Fields that are not named here are ignored, since clients send many; one that is named must have its
type. A field that would change the answer and cannot be honoured is refused in ask.py, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

MAX_BODY = 2**20
"""Bytes of a request's body; more is refused with 413."""
MAX_TOKENS = 32768
MAX_PROMPTS = 128
MAX_ITEMS = 1024
MAX_FIELDS = 1024
MAX_DRAWS = 16
MAX_TOOLS = 64


def _whole(text: str) -> str:
    """Refuses half a surrogate pair, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half of a surrogate pair at character {error.start}") from error
    return text


def _few(value: Any) -> Any:
    """Refuses an object with too many keys before each is found wrong by itself: that takes seconds."""
    if isinstance(value, dict) and len(value) > MAX_FIELDS:
        raise ValueError(f"has {len(value)} keys, and at most {MAX_FIELDS} are taken")
    return value


Text = Annotated[str, AfterValidator(_whole)]
Item = Annotated[dict[str, Text], BeforeValidator(_few), Field(max_length=MAX_FIELDS)]
Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Bias = Annotated[float, Field(ge=-100, le=100)]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Shape(BaseModel):
    # Built when a route is first asked: a server starts sooner, and most serve one or two routes.
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class WrongShape(Exception):
    """`problems` are pydantic's, one for each field and each branch of a union."""

    def __init__(self, problems: list[ErrorDetails]) -> None:
        super().__init__()
        self.problems = problems


AnyShape = TypeVar("AnyShape", bound=Shape)


def checked(shape: type[AnyShape], said: dict[str, Any]) -> AnyShape:
    """The body as the shape. Raises WrongShape, which failures.py words."""
    try:
        return shape.model_validate(said)
    except ValidationError as error:
        raise WrongShape(error.errors(include_url=False, include_context=False)) from None


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
    n: int | None = Field(None, ge=1, le=MAX_DRAWS)
    logit_bias: Annotated[dict[str, Bias], BeforeValidator(_few), Field(max_length=MAX_FIELDS)] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

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


class CalledFunction(Shape):
    name: ToolName
    arguments: Text


class ToolCall(Shape):
    """A call that an assistant made in an earlier turn."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Shape):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(fail_fast=True)] | None = None
    tool_call_id: Text | None = None

    @property
    def text(self) -> str:
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content)


class ToolFunction(Shape):
    name: ToolName
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Shape):
    type: Literal["function"]
    function: ToolFunction


class NamedFunction(Shape):
    name: ToolName


class NamedTool(Shape):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Shape):
    """`strict` changes nothing: every answer is held to the schema."""

    name: Text | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Shape):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Asking):
    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None


class CompletionRequest(Asking):
    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_PROMPTS)]
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class EmbeddingRequest(Shape):
    model: Text | None = None
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_ITEMS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class BatchRequest(Shape):
    """Bodies of /v1/chat/completions; `model` is that of those which name none."""

    model: Text | None = None
    requests: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_PROMPTS)


class GenerateRequest(Drawing):
    """As in the common FastAPI tutorial."""

    instruction: Text | None = None
    input_text: Text
    max_new_tokens: Tokens | None = None


class ClassifyRequest(Shape):
    model: Text | None = None
    input: (
        Text | Item | Annotated[list[Text | Item], Field(fail_fast=True, min_length=1, max_length=MAX_ITEMS)]
    )

    @property
    def items(self) -> list[str | dict[str, str]]:
        return self.input if isinstance(self.input, list) else [self.input]
