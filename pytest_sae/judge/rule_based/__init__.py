"""A judge without a model: it reads requests by rules and a lexicon of the bundled world.

It is there so that every evaluation runs on a fresh machine without key or network. It sees what a
language model would see, the JSON document of a request, and nothing else. What it says of texts
outside the bundled world means nothing.
"""

from pytest_sae.judge.rule_based.judge import RuleBasedJudge
from pytest_sae.judge.rule_based.lexicon import Lexicon, load

__all__ = ["Lexicon", "RuleBasedJudge", "load"]
