"""The demo's models are made once, the same each time, in the format that others read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptmill.inference.vllm.model import folder_digest
from promptmill_demo.models.demo import DemoModels
from promptmill_demo.models.untrained import make_untrained_models
from promptmill_schemas import ATTRIBUTES

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


def test_the_same_seed_makes_the_same_bytes(demo_models: DemoModels, tmp_path: Path) -> None:
    again = make_untrained_models(tmp_path / "again")
    other = make_untrained_models(tmp_path / "other", seed=10)
    assert folder_digest(again.instruct) == folder_digest(demo_models.instruct)
    assert folder_digest(again.reward) == folder_digest(demo_models.reward)
    assert folder_digest(other.instruct) != folder_digest(demo_models.instruct)


def test_what_is_there_is_not_made_again(demo_models: DemoModels) -> None:
    weights = demo_models.instruct / "model.safetensors"
    before = weights.stat().st_ino
    assert make_untrained_models(demo_models.instruct.parent) == demo_models
    assert weights.stat().st_ino == before


def test_a_folder_of_another_recipe_is_replaced_and_nothing_is_left_over(tmp_path: Path) -> None:
    stale = tmp_path / "demo-instruct"
    stale.mkdir()
    (stale / "leftover").write_text("old")
    models = make_untrained_models(tmp_path)
    assert not (models.instruct / "leftover").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo-instruct", "demo-reward"]


def test_the_architectures_and_labels_are_those_of_the_real_ones(demo_models: DemoModels) -> None:
    instruct = json.loads((demo_models.instruct / "config.json").read_text())
    reward = json.loads((demo_models.reward / "config.json").read_text())
    assert instruct["architectures"] == ["NemotronForCausalLM"]
    assert reward["architectures"] == ["LlamaForSequenceClassification"]
    assert list(reward["id2label"].values()) == list(ATTRIBUTES)
    weights = sum(
        (folder / "model.safetensors").stat().st_size
        for folder in (demo_models.instruct, demo_models.reward)
    )
    assert weights < 16 * 1024 * 1024


def test_the_tokenizer_writes_any_text_and_ends_as_the_model_expects(
    demo_models: DemoModels,
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_models.instruct)
    text = "Größe 你好 \x07 <b> 😀"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    config = json.loads((demo_models.instruct / "generation_config.json").read_text())
    assert config["eos_token_id"][0] == tokenizer.eos_token_id
    assert config["pad_token_id"] == tokenizer.pad_token_id
    assert config["bos_token_id"] == tokenizer.bos_token_id


def test_conversations_have_the_form_of_nemotron(demo_models: DemoModels) -> None:
    from transformers import AutoTokenizer

    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Bye."},
    ]
    instruct = AutoTokenizer.from_pretrained(demo_models.instruct)
    text = instruct.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<extra_id_0>System\nBe brief.\n"
        "<extra_id_1>User\nHello.\n<extra_id_1>Assistant\nGood day.\n"
        "<extra_id_1>User\nBye.\n<extra_id_1>Assistant\n"
    )
    reward = AutoTokenizer.from_pretrained(demo_models.reward)
    graded = reward.apply_chat_template(turns[1:3], tokenize=False)
    assert graded == (
        "<extra_id_0>System\n\n<extra_id_1>User\nHello.\n"
        "<extra_id_1>Assistant\nGood day.\n<extra_id_2>"
    )
