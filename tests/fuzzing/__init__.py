"""Seeded fuzzing of every reader: files that are damaged or hostile are read, refused in one line or warned about.

mutate    damage to bytes, JSON values and tables
tables    data files: CSV, TSV, JSON, JSONL, CoNLL, Parquet
stories   TextGrid, TSV of words, pickle
models    PEFT and AdapterHub folders, config.json, the tokenizer's files
guard     one case under its limits, and what is said of it
run       many cases of a target, in this process or in one that may be killed

The long form is `python -m tests.fuzzing --cases 2000`, the short form `tests/test_fuzzing.py`.
"""
