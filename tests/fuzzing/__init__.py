"""Seeded fuzzing of every reader: files that are damaged or hostile are read, refused in one line or warned about.

mutate    damage to bytes and JSON values; hostile cells
damage    damage to a file of a folder
tables    CSV, TSV, JSON, JSONL, CoNLL, Parquet and Arrow files (parquet)
stories   TextGrid and TSV of words; words: CSV, JSON and CTM of them; pickles: the laboratory's raw_text.pkl
adapters  PEFT's and AdapterHub's folders and ours
models    config.json, the tokenizer's files
guard     one case under its limits, and what is said of it
run       many cases of a target, in this process or in one that may be killed

The long form is `python -m tests.fuzzing --cases 2000`, the short form `tests/test_fuzzing.py`.
"""
