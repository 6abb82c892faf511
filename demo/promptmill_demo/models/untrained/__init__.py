"""The demo's models with random weights, which give long answers, for tests of engines."""

from promptmill_demo.models.untrained.make import make_untrained_models

__all__ = ["make_untrained_models"]
