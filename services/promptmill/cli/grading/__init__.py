"""Measuring a grader against pairs in RewardBench's format or rows in HelpSteer2's."""
