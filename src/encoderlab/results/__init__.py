"""Run folders become tables: results.csv, summary.csv, summary.json, and what may be concluded from them."""
