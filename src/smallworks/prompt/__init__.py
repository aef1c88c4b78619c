"""The one renderer: every stage turns a task and a text into tokens here, and ids back into text."""

from smallworks.prompt.codes import choose
from smallworks.prompt.detokenizer import Detokenizer
from smallworks.prompt.renderer import Renderer, TrainingRow, prompt_hash
from smallworks.prompt.template import Template
from smallworks.prompt.tokenizer import TextTokenizer

__all__ = ["Detokenizer", "Renderer", "Template", "TextTokenizer", "TrainingRow", "choose", "prompt_hash"]
