"""Publishing: lines of a file become prompts on the topic, each reported once."""
