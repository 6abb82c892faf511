"""Publishing: the lines of a file become prompts on the topic, and each is reported once."""
