"""The door for programs: bundles behind the API that clients already speak."""

from smallworks.server.app import create_app
from smallworks.server.config import Config
from smallworks.server.keys import KeyFile
from smallworks.server.rules import Rules
from smallworks.server.run import background, serve

__all__ = ["Config", "KeyFile", "Rules", "background", "create_app", "serve"]
