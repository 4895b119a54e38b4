"""Stories with the times of their words and TRs, and vectors for every word.

story       what a story is            read        stories from files: pickled, saved, and words with times:
transcript  what of a file was said    textgrid, tables, aligned (JSON), ctm; tiers, marks: what is in them
static      bag of words, word rate, word length, GloVe and word2vec files
contextual  an encoder's hidden states, one vector a word
"""

from encoderlab.stories.read import read
from encoderlab.stories.saved import save
from encoderlab.stories.story import Story

__all__ = ["Story", "read", "save"]
