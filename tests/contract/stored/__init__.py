"""One example of everything that outlives the code that wrote it: how it is written, and how it is read again."""

from tests.contract.stored import money_and_answers, registry, work

KINDS = registry.KINDS | work.KINDS | money_and_answers.KINDS
