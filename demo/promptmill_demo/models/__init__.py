"""Small models that promptmill trains itself, so that the demo needs no download.

They are real architectures in Hugging Face format: a Nemotron causal model that answers simple
tasks, often correctly, and a Llama sequence classifier with five labels that grades the answers.
``models/MODEL_CARD.md`` reports what they can and cannot do.
"""

from promptmill_demo.models.demo import DemoModels, make_demo_models

__all__ = ["DemoModels", "make_demo_models"]
